import { Readable } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Spawner } from '../platform/spawn.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { findCredentials, type Credentials } from './credentials.ts';
import { digestOf } from './digest.ts';
import { Http, isLoopback, readBody, unreachable, type Answer, type HttpLimits } from './http.ts';
import type { Descriptor, Digest } from './images.ts';
import { acceptedManifests, largestManifestBytes } from './manifest.ts';
import { formatReference, type Reference } from './reference.ts';

const largestAnswerBytes = 1024 * 1024;
/** A body that brings less than this in a minute is as good as silent. */
const slowest = { bytes: 64 * 1024, ms: 60_000 };
const mostTokens = 1000;
const tagsShown = 20;

/**
 * Pulls from registries that speak the distribution API (distribution-spec 1.1, "Pull"): https except for loopback and
 * `insecureRegistries`, Bearer and Basic authentication with Docker's credentials, retries, Range resume.
 * Throws EbbError ImageNotFound, RegistryUnauthorized, RegistryUnreachable, ImageCorrupt.
 */
export class RegistryClient implements AsyncDisposable {
  readonly #options: RegistryOptions;
  readonly #http: Http;
  /** `Authorization` by registry and repository; the oldest go first. */
  readonly #tokens = new Map<string, { value: string; untilMs: number }>();

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#http = new Http(options.clock, options.http);
  }

  /** The manifest or index that `reference` points at, verified when it is asked for by digest. */
  async manifest(
    reference: Reference,
    want: { digest?: Digest; signal?: AbortSignal | undefined },
  ): Promise<{ bytes: Buffer; mediaType: string; digest: Digest }> {
    const asked = want.digest ?? reference.digest ?? reference.tag ?? 'latest';
    const answer = await this.#get(reference, `manifests/${asked}`, { accept: acceptedManifests }, want.signal);
    if (answer.status === 404) {
      await answer.body.dump();
      throw await this.#notFound(reference, asked, want.signal);
    }
    await this.#expect(reference, answer, [200]);
    const bytes = await readBody(answer, largestManifestBytes);
    const digest = digestOf(bytes);
    if (asked.includes(':') && asked !== digest) {
      throw new EbbError(
        'ImageCorrupt',
        422,
        `${title(reference)} manifest ${asked} arrives with the digest ${digest}`,
      );
    }
    return { bytes, digest, mediaType: answer.headers['content-type'] ?? '' };
  }

  /**
   * The bytes of a blob as they come; a lost connection is taken up where it broke. Not verified: the content store does
   * that. `onBytes` hears of every chunk.
   */
  blob(
    reference: Reference,
    blob: Descriptor,
    options: { signal?: AbortSignal; onBytes?: (bytes: number) => void } = {},
  ): Readable {
    return Readable.from(this.#blobChunks(reference, blob, options), { objectMode: false, highWaterMark: 256 * 1024 });
  }

  async #get(
    reference: Reference,
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const url = new URL(`/v2/${reference.repository}/${path}`, this.#origin(reference.registry));
    const key = `${reference.registry}/${reference.repository}`;
    const known = this.#tokens.get(key);
    const isFresh = known !== undefined && known.untilMs > this.#options.clock.monotonic();
    const first = await this.#http.fetch(url, {
      headers: withAuth(headers, isFresh ? known.value : undefined),
      signal,
    });
    if (first.status !== 401) return first;
    const challenges = parseChallenges(first.headers['www-authenticate'] ?? '');
    await first.body.dump();
    const token = await this.#authorize(reference, url, challenges, signal);
    this.#tokens.delete(key);
    if (token === undefined) throw this.#unauthorized(reference, 'it wants to know who asks');
    if (this.#tokens.size >= mostTokens) this.#tokens.delete(this.#tokens.keys().next().value ?? '');
    this.#tokens.set(key, { value: token.value, untilMs: this.#options.clock.monotonic() + token.seconds * 1000 });
    return await this.#http.fetch(url, { headers: withAuth(headers, token.value), signal });
  }

  /** An `Authorization` that answers one of the challenges; undefined when there is nothing to answer with. */
  async #authorize(
    reference: Reference,
    url: URL,
    challenges: Challenge[],
    signal?: AbortSignal,
  ): Promise<{ value: string; seconds: number } | undefined> {
    const credentials = await findCredentials(reference.registry, {
      configPath: this.#options.dockerConfigPath,
      spawner: this.#options.spawner,
      ...(signal ? { signal } : {}),
    });
    const bearer = challenges.find((challenge) => challenge.scheme === 'bearer' && challenge.params['realm']);
    if (bearer) return await this.#fetchToken(reference, url, bearer, credentials, signal);
    if (challenges.some((challenge) => challenge.scheme === 'basic') && credentials?.kind === 'basic') {
      return { value: basicAuth(credentials), seconds: 3600 };
    }
    return undefined;
  }

  /** Distribution "Token Authentication Specification" and, for identity tokens, its OAuth2 variant. */
  async #fetchToken(
    reference: Reference,
    url: URL,
    challenge: Challenge,
    credentials: Credentials | undefined,
    signal?: AbortSignal,
  ): Promise<{ value: string; seconds: number }> {
    const realm = URL.parse(challenge.params['realm'] ?? '');
    if (realm === null || !(realm.protocol === 'https:' || (realm.protocol === 'http:' && url.protocol === 'http:'))) {
      throw this.#unauthorized(
        reference,
        `it sends to the token server "${challenge.params['realm']}", which is not https`,
      );
    }
    const scope = challenge.params['scope'] ?? `repository:${reference.repository}:pull`;
    const service = challenge.params['service'] ?? '';
    let answer: Answer;
    if (credentials?.kind === 'identity') {
      const grant = { grant_type: 'refresh_token', refresh_token: credentials.token, client_id: 'ebb', service, scope };
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      answer = await this.#http.fetch(realm, {
        method: 'POST',
        headers,
        body: String(new URLSearchParams(grant)),
        signal,
      });
    } else {
      realm.searchParams.set('scope', scope);
      if (service) realm.searchParams.set('service', service);
      answer = await this.#http.fetch(realm, { headers: withAuth({}, credentials && basicAuth(credentials)), signal });
    }
    await this.#expect(reference, answer, [200]);
    const text = (await readBody(answer, largestAnswerBytes)).toString('utf8');
    const fields = parseObject(text);
    const token = fields['token'] ?? fields['access_token'];
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw this.#unauthorized(reference, 'its token server gives no token');
    }
    const seconds = typeof fields['expires_in'] === 'number' ? fields['expires_in'] : 60;
    // Renewed a little early, so that it does not run out on its way.
    return { value: `Bearer ${token}`, seconds: Math.max(0, seconds * 0.9 - 1) };
  }

  async *#blobChunks(
    reference: Reference,
    blob: Descriptor,
    options: { signal?: AbortSignal; onBytes?: (bytes: number) => void },
  ): AsyncGenerator<Buffer> {
    let have = 0;
    let lastGain = 0;
    for (let attempt = 1; ; attempt++) {
      let failure: string;
      try {
        const range: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
        const answer = await this.#get(reference, `blobs/${blob.digest}`, range, options.signal);
        if (answer.status === 404) {
          await answer.body.dump();
          throw new EbbError(
            'ImageCorrupt',
            422,
            `${title(reference)} the registry does not have its blob ${blob.digest}`,
          );
        }
        await this.#expect(reference, answer, have > 0 ? [200, 206] : [200]);
        // A server that ignores Range starts over: what is here already is passed by.
        let skip = answer.status === 206 ? 0 : have;
        if (answer.status === 206 && !answer.headers['content-range']?.startsWith(`bytes ${have}-`)) {
          throw new EbbError(
            'ImageCorrupt',
            422,
            `${title(reference)} the registry resumes blob ${blob.digest} at the wrong place`,
          );
        }
        for await (const chunk of this.#watched(answer)) {
          const fresh = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - fresh.length;
          if (fresh.length === 0) continue;
          have += fresh.length;
          options.onBytes?.(fresh.length);
          yield fresh;
          // The content store refuses what is too long; asking on would not help.
          if (have > blob.size) return;
        }
        if (have >= blob.size) return;
        failure = `the connection ended after ${have} of ${blob.size} bytes`;
      } catch (error) {
        options.signal?.throwIfAborted();
        if (error instanceof EbbError) throw error;
        failure = messageOf(error);
      }
      // Only tries that brought next to nothing count, or a long blob on a bad line would never arrive.
      if (have - lastGain >= slowest.bytes) attempt = 1;
      lastGain = have;
      if (attempt >= this.#http.attempts)
        throw unreachable(this.#origin(reference.registry), `blob ${blob.digest}: ${failure}`);
      await this.#http.pause(attempt, options.signal);
    }
  }

  /** The chunks of a body, until it gets too slow. */
  async *#watched(answer: Answer): AsyncGenerator<Buffer> {
    const clock = this.#options.clock;
    let since = clock.monotonic();
    let bytes = 0;
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      const waitedFrom = clock.monotonic();
      if (waitedFrom - since > slowest.ms) {
        if (bytes < slowest.bytes)
          throw new Error(`only ${bytes} bytes came in ${Math.round((waitedFrom - since) / 1000)} s`);
        since = waitedFrom;
        bytes = 0;
      }
      yield chunk;
      // The time that the reader takes is not the registry's.
      since += clock.monotonic() - waitedFrom;
    }
  }

  /** Returns when the status is as expected; otherwise throws what it means. */
  async #expect(reference: Reference, answer: Answer, statuses: number[]): Promise<void> {
    if (statuses.includes(answer.status)) return;
    const detail = describeErrors(await readBody(answer, largestAnswerBytes).catch(() => Buffer.alloc(0)));
    if (answer.status === 401 || answer.status === 403) {
      throw this.#unauthorized(reference, `it answers ${answer.status}${detail}`);
    }
    throw unreachable(this.#origin(reference.registry), `it answers ${answer.status}${detail}`);
  }

  async #notFound(reference: Reference, asked: string, signal?: AbortSignal): Promise<EbbError> {
    const answer = await this.#get(reference, 'tags/list', {}, signal);
    const isHere = answer.status === 200;
    const listed = parseObject(
      (await readBody(answer, largestAnswerBytes).catch(() => Buffer.alloc(0))).toString('utf8'),
    );
    const tags = Array.isArray(listed['tags']) ? listed['tags'].filter((tag) => typeof tag === 'string') : [];
    if (!isHere)
      return imageNotFound(reference, `registry ${reference.registry} has no repository "${reference.repository}"`);
    return imageNotFound(reference, `no such ${asked.includes(':') ? 'digest' : 'tag'}; ${listTags('pushed', tags)}`);
  }

  #unauthorized(reference: Reference, why: string): EbbError {
    const name = reference.registry === 'docker.io' ? '' : ` ${reference.registry}`;
    return new EbbError(
      'RegistryUnauthorized',
      403,
      `${title(reference)} registry ${reference.registry} refuses access: ${why}; check the name, or run "docker login${name}" to put credentials into ${this.#options.dockerConfigPath}`,
    );
  }

  #origin(registry: string): URL {
    const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
    const url = new URL(`https://${host}`);
    if (isLoopback(url.hostname) || this.#options.insecureRegistries.includes(registry))
      return new URL(`http://${host}`);
    return url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }
}

export interface RegistryOptions {
  clock: Clock;
  spawner: Spawner;
  dockerConfigPath: string;
  /** Registries (host or host:port) that are asked without TLS. */
  insecureRegistries: readonly string[];
  http: HttpLimits;
}

export function imageNotFound(reference: Reference, why: string): EbbError {
  return new EbbError('ImageNotFound', 404, `${title(reference)} ${why}`);
}

/** `pushed tags are 2, 3`. */
export function listTags(kind: string, tags: readonly string[]): string {
  if (tags.length === 0) return `there are no ${kind} tags`;
  const sorted = tags.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const shown = sorted.slice(0, tagsShown).join(', ');
  return `${kind} tags are ${shown}${tags.length > tagsShown ? ` and ${tags.length - tagsShown} more` : ''}`;
}

function title(reference: Reference): string {
  return `image "${formatReference(reference)}":`;
}

function withAuth(headers: Record<string, string>, authorization: string | undefined): Record<string, string> {
  return authorization === undefined ? headers : { ...headers, authorization };
}

function basicAuth(credentials: Credentials): string {
  if (credentials.kind !== 'basic') return `Bearer ${credentials.token}`;
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
}

/** ` (DENIED: requested access is denied)`: the first error of a distribution error body, or nothing. */
function describeErrors(body: Buffer): string {
  const { errors } = parseObject(body.toString('utf8'));
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== 'object' || first === null) return '';
  const { code, message } = first as { code?: unknown; message?: unknown };
  const text = [code, message].filter((part) => typeof part === 'string' && part !== '').join(': ');
  return text === '' ? '' : ` (${text.slice(0, 300)})`;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // What is no JSON says nothing that is needed: each caller goes on without.
    return {};
  }
}
