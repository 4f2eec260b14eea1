import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import { EbbError, errnoOf, messageOf } from '../platform/errors.ts';
import { codes } from './exit.ts';
import { jsonLines } from './json-lines.ts';
import type { Connection } from './kubeconfig.ts';

/** Of one whole answer that is kept in memory. */
const maxBodyBytes = 64 * 1024 * 1024;

export type Query = Record<string, string | number | boolean | undefined>;

export interface CallOptions {
  query?: Query;
  /** An object goes as JSON, a stream as it is. */
  body?: object | Readable;
  contentType?: string;
  signal?: AbortSignal;
  /** Gives up when the API has not begun to answer by then; never unless given. */
  timeoutMs?: number;
}

/**
 * A client of Ebb's API over HTTPS, as light as a command that should start at once needs it.
 * Every failure is an EbbError: `Unreachable` when no answer came, else the code, status and message of the API's own
 * `Status` object.
 */
export class Client implements Disposable {
  readonly server: string;
  #connection: Connection;
  #agent: Agent;

  constructor(connection: Connection) {
    this.server = connection.server;
    this.#connection = connection;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16 });
  }

  /** One call, its whole answer parsed. */
  async json<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
    const response = await this.#call(method, path, options);
    const text = await bodyOf(response);
    try {
      return (text === '' ? {} : JSON.parse(text)) as T;
    } catch (cause) {
      throw new EbbError('BadAnswer', 502, `${this.server}${path} did not answer with JSON`, { cause });
    }
  }

  get<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.json<T>('GET', path, options);
  }

  /** The object, or undefined when there is none. */
  async find<T>(path: string, options: CallOptions = {}): Promise<T | undefined> {
    try {
      return await this.get<T>(path, options);
    } catch (error) {
      if (error instanceof EbbError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** JSON merge patch (RFC 7386): objects are merged, null removes, arrays are replaced. */
  patch<T>(path: string, body: object, options: CallOptions = {}): Promise<T> {
    return this.json<T>('PATCH', path, { ...options, body, contentType: 'application/merge-patch+json' });
  }

  /** A call whose answer is newline-delimited JSON, value by value as it arrives. Ends when the signal aborts. */
  async *lines(method: string, path: string, options: CallOptions = {}): AsyncGenerator<unknown> {
    const response = await this.#call(method, path, options);
    try {
      yield* jsonLines(response);
    } catch (error) {
      if (options.signal?.aborted) return;
      throw error instanceof EbbError ? error : this.#unreachable(error);
    } finally {
      response.destroy();
    }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #call(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const response = await this.#send(method, path, options);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    throw await this.#refusal(response, status);
  }

  #send(method: string, path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body, signal, timeoutMs } = options;
    const streamed = body !== undefined && isStream(body);
    const payload = body === undefined || streamed ? undefined : Buffer.from(JSON.stringify(body));
    const { ca, cert, key, token } = this.#connection;
    return new Promise((resolve, reject) => {
      let answered = false;
      const request = httpsRequest(`${this.server}${path}${queryString(options.query)}`, {
        method,
        agent: this.#agent,
        headers: {
          accept: 'application/json',
          'user-agent': 'ebb',
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(body === undefined ? {} : { 'content-type': options.contentType ?? 'application/json' }),
          ...(payload ? { 'content-length': payload.length } : {}),
        },
        ...(ca ? { ca } : {}),
        ...(cert && key ? { cert, key } : {}),
        ...(signal ? { signal } : {}),
      });
      request.on('response', (response) => {
        answered = true;
        resolve(response);
      });
      request.on('error', (error) => reject(signal?.aborted ? interrupted() : this.#unreachable(error)));
      if (timeoutMs !== undefined) {
        request.setTimeout(timeoutMs, () => answered || request.destroy(new Error(`no answer in ${timeoutMs} ms`)));
      }
      if (streamed) {
        pipeline(body, request, (error) => {
          // The source's own failure is what the user must see; a broken connection is told by the request's error.
          if (error instanceof EbbError && !answered) reject(error);
        });
      } else {
        request.end(payload);
      }
    });
  }

  async #refusal(response: IncomingMessage, status: number): Promise<EbbError> {
    const text = await bodyOf(response).catch(() => '');
    const answer = statusObject(text);
    if (status === 401) {
      return new EbbError(
        'Unauthorized',
        401,
        `${this.server} does not accept this kubeconfig's token: it may belong to another Ebb; take it anew with "ebb kubeconfig"`,
      );
    }
    const message = answer?.message ?? `${this.server} answered ${status} ${response.statusMessage ?? ''}`.trim();
    return new EbbError(
      answer?.reason ?? 'ApiError',
      status,
      message,
      answer?.details ? { details: answer.details } : {},
    );
  }

  #unreachable(cause: unknown): EbbError {
    const why = errnoOf(cause) ?? messageOf(cause);
    const message =
      why.includes('CERT') || why.includes('SELF_SIGNED') || why.includes('ALTNAME')
        ? `${this.server} shows a certificate that this kubeconfig does not know (${why}): it may belong to another Ebb`
        : `cannot reach Ebb at ${this.server} (${why}): is it running? Start it with "ebb up --detach"`;
    return new EbbError(codes.unreachable, 503, message, { cause });
  }
}

/** The error of a call that Ctrl-C ended. */
export function interrupted(): EbbError {
  return new EbbError(codes.interrupted, 499, 'interrupted');
}

function isStream(body: object): body is Readable {
  return typeof (body as { pipe?: unknown }).pipe === 'function';
}

function queryString(query: Query | undefined): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== false);
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs.map(([k, v]) => [k, String(v)] as [string, string]))}`;
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new EbbError('BadAnswer', 502, 'the API answered with over 64 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** metav1.Status, if it is one. */
interface StatusObject {
  kind?: string;
  message?: string;
  reason?: string;
  details?: Record<string, unknown>;
}

function statusObject(text: string): StatusObject | undefined {
  try {
    const value = JSON.parse(text) as StatusObject | null;
    return value?.kind === 'Status' ? value : undefined;
  } catch {
    return undefined; // some proxy's HTML, say: the status line has to do
  }
}
