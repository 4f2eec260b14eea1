import type { Dispatcher, request } from 'undici';
import type { Clock } from '../platform/clock.ts';
import { EbbError, errnoOf, messageOf } from '../platform/errors.ts';

export interface HttpLimits {
  /** To connect, and to the head of a response. */
  headTimeoutMs: number;
  /** Silence in the middle of a body. */
  idleTimeoutMs: number;
  /** Tries in a row that brought nothing. */
  attempts: number;
  /** Wait before the second try; doubled each time, at most 30 s. */
  backoffMs: number;
}

export const defaultHttpLimits: HttpLimits = {
  headTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  attempts: 5,
  backoffMs: 250,
};

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: Dispatcher.ResponseData['body'];
}

const mostRedirects = 5;
const longestWaitMs = 30_000;

/**
 * HTTP as a registry client needs it: redirects followed without handing credentials to another host, connection
 * losses, 429 and 5xx retried with back-off, every wait bounded.
 */
export class Http implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #limits: HttpLimits;
  #dispatchers: Promise<Dispatchers> | undefined;

  constructor(clock: Clock, limits: HttpLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get attempts(): number {
    return this.#limits.attempts;
  }

  /**
   * One request, retried while the failure is one that passes. The caller reads or dumps the body.
   * Throws EbbError RegistryUnreachable when no answer comes, or only 429 and 5xx.
   */
  async fetch(
    url: URL,
    options: {
      method?: 'GET' | 'POST';
      headers?: Record<string, string>;
      body?: string;
      signal?: AbortSignal | undefined;
    },
  ): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      let failure: string;
      let waitMs = 0;
      try {
        const answer = await this.#follow(url, options);
        if (answer.status !== 429 && answer.status < 500) return answer;
        failure = `it answers ${answer.status}`;
        waitMs = Math.min(Number(answer.headers['retry-after'] ?? 0) * 1000 || 0, longestWaitMs);
        await answer.body.dump();
      } catch (error) {
        options.signal?.throwIfAborted();
        if (error instanceof EbbError) throw error;
        failure = words(error);
        if (!isPassing(error)) attempt = this.#limits.attempts;
      }
      if (attempt >= this.#limits.attempts) throw unreachable(url, failure);
      await this.pause(attempt, options.signal, waitMs);
    }
  }

  /** Waits before try number `attempt` + 1. */
  async pause(attempt: number, signal?: AbortSignal, atLeastMs = 0): Promise<void> {
    const ms = Math.max(atLeastMs, Math.min(this.#limits.backoffMs * 2 ** (attempt - 1), longestWaitMs));
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = this.#clock.after(ms, resolve);
    signal?.addEventListener('abort', () => resolve(), { once: true });
    if (!signal?.aborted) await promise;
    signal?.throwIfAborted();
  }

  async #follow(
    start: URL,
    options: {
      method?: 'GET' | 'POST';
      headers?: Record<string, string>;
      body?: string;
      signal?: AbortSignal | undefined;
    },
  ): Promise<Answer> {
    const { request: send, direct, proxied } = await (this.#dispatchers ??= dispatchersFor(this.#limits));
    let url = start;
    for (let hops = 0; hops <= mostRedirects; hops++) {
      const headers: Record<string, string> = { 'user-agent': 'ebb', ...options.headers };
      // Blob stores behind registries sign their URLs, and must not see the registry's token.
      if (url.origin !== start.origin) delete headers['authorization'];
      const response = await send(url, {
        method: options.method ?? 'GET',
        headers,
        dispatcher: isLoopback(url.hostname) ? direct : proxied,
        ...(options.body === undefined ? {} : { body: options.body }),
        ...(options.signal ? { signal: options.signal } : {}),
      });
      const answer = { status: response.statusCode, headers: flat(response.headers), body: response.body };
      // A body that breaks before it is read must not be an uncaught exception.
      response.body.on('error', () => undefined);
      const location = answer.headers['location'];
      if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
      await response.body.dump();
      const next = URL.parse(location, url.href);
      if (
        next === null ||
        !/^https?:$/.test(next.protocol) ||
        (url.protocol === 'https:' && next.protocol === 'http:')
      ) {
        throw unreachable(start, `it redirects to "${location.slice(0, 200)}", which is not followed`);
      }
      url = next;
    }
    throw unreachable(start, `it redirects more than ${mostRedirects} times`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const dispatchers = await this.#dispatchers;
    if (dispatchers) await Promise.all([dispatchers.direct.destroy(), dispatchers.proxied.destroy()]);
  }
}

interface Dispatchers {
  request: typeof request;
  direct: Dispatcher;
  /** Proxies are for the outside: what runs on this machine is asked directly. */
  proxied: Dispatcher;
}

/** undici is loaded with the first request: it is 5 MB and 40 ms that an Ebb which pulls nothing does without. */
async function dispatchersFor(limits: HttpLimits): Promise<Dispatchers> {
  const { Agent, EnvHttpProxyAgent, request } = await import('undici');
  const options = {
    connect: { timeout: limits.headTimeoutMs },
    headersTimeout: limits.headTimeoutMs,
    bodyTimeout: limits.idleTimeoutMs,
    maxHeaderSize: 64 * 1024,
  };
  return { request, direct: new Agent(options), proxied: new EnvHttpProxyAgent(options) };
}

/** Whole body of an answer. Throws EbbError ImageCorrupt above `limit` bytes. */
export async function readBody(answer: Answer, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limit)
      throw new EbbError('ImageCorrupt', 422, `the registry sends more than ${limit} bytes for a small document`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** `localhost`, 127.0.0.0/8 and ::1. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

export function unreachable(url: URL, why: string): EbbError {
  return new EbbError('RegistryUnreachable', 502, `registry ${url.host} cannot be reached: ${why}`);
}

/** Connection trouble of any kind passes; names that don't exist and wrong certificates do not. */
function isPassing(error: unknown): boolean {
  const code = errnoOf(error) ?? errnoOf((error as { cause?: unknown }).cause) ?? '';
  return !/^(ENOTFOUND|ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|ERR_INVALID|UND_ERR_INVALID|ERR_SSL)/.test(code);
}

function words(error: unknown): string {
  const errors = (error as { errors?: unknown[] }).errors;
  return (
    messageOf(Array.isArray(errors) && errors.length > 0 ? errors[0] : error) || (errnoOf(error) ?? 'connection failed')
  );
}

function flat(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}
