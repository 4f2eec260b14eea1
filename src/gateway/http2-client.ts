import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { fieldLines } from './http2-socket.ts';
import { ChunkedReader, LengthReader, noBodyReader, type BodyReader } from './http1/body.ts';
import { FieldNames, HeadError, responseRoles } from './http1/fields.ts';
import { readResponseHead, type ResponseHead } from './http1/response-head.ts';

/** RFC 9113 section 7. */
const noError = 0x0;
const endStreamFlag = 0x1;
const maxConcurrentStreams = 128;

/** The head that an HTTP/2 connection's preface looks like to HTTP/1 (RFC 9113 section 3.4). */
export const prefaceHead = 'PRI * HTTP/2.0\r\n\r\n';

/**
 * Speaks HTTP/2 with a client that began to by prior knowledge; `received` is what it sent so far. `onRequest` gets each request
 * as a connection of its own that speaks HTTP/1.1, so that everything behind it is written once.
 */
export function serveHttp2(
  socket: Socket,
  received: Buffer,
  options: { idleMs: number; onRequest: (request: Http2Request) => void },
): ServerHttp2Session {
  socket.pause();
  socket.unshift(received);
  const { remoteAddress } = socket;
  // Loaded by the first client that needs it, as in http2-socket.ts.
  const { performServerHandshake } = process.getBuiltinModule('node:http2');
  const session = performServerHandshake(socket, { settings: { maxConcurrentStreams, enablePush: false } });
  const names = new FieldNames(responseRoles);
  session.on('stream', (stream, headers, flags) =>
    options.onRequest(
      new Http2Request(stream, headers, { empty: (flags & endStreamFlag) !== 0, names, remoteAddress }),
    ),
  );
  session.setTimeout(options.idleMs, () => session.close());
  // The session closes after an error, which ends its streams.
  session.on('error', () => undefined);
  return session;
}

/** One HTTP/2 request in the clothes of a connection that sends one HTTP/1.1 request and reads the response. */
export class Http2Request extends Duplex {
  readonly remoteAddress: string | undefined;
  readonly #stream: ServerHttp2Stream;
  readonly #names: FieldNames;
  readonly #method: string;
  #head = '';
  #body: BodyReader | undefined;
  #complete = false;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    options: { empty: boolean; names: FieldNames; remoteAddress: string | undefined },
  ) {
    super({ allowHalfOpen: true });
    this.remoteAddress = options.remoteAddress;
    this.#stream = stream;
    this.#names = options.names;
    this.#method = headers[':method'] ?? '';
    const chunked = !options.empty && headers['content-length'] === undefined;
    const authority = headers[':authority'] ?? headers.host ?? '';
    const head =
      `${this.#method} ${headers[':path'] ?? authority} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n` +
      `${fieldLines(headers)}${chunked ? 'Transfer-Encoding: chunked\r\n' : ''}\r\n`;
    this.push(Buffer.from(head, 'latin1'));
    stream.on('data', (data: Buffer) => {
      if (data.length === 0) return;
      const framed = chunked
        ? Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])
        : data;
      if (!this.push(framed)) stream.pause();
    });
    // The end of an HTTP/1.1 connection would mean that the client left; here only `close` means that.
    stream.on('end', () => {
      if (chunked && !stream.aborted && stream.rstCode === noError) this.push('0\r\n\r\n');
    });
    // Its error also closes it.
    stream.on('error', () => undefined);
    stream.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    try {
      for (let at = 0; at < chunk.length;) at = this.#body ? this.#data(this.#body, chunk, at) : this.#heads(chunk, at);
    } catch (error) {
      // HTTP/2 allows some fields only once, which HTTP/1.1 leaves open; or the stream is closed already.
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const stream = this.#stream;
    if (!stream.writableNeedDrain || stream.destroyed) {
      done();
      return;
    }
    const settle = () => {
      stream.off('drain', settle).off('close', settle);
      done();
    };
    stream.once('drain', settle).once('close', settle);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // `close` would first end the stream in peace, and half a response would pass for a whole one; `destroy` resets it.
    if (this.#complete) this.#stream.close(noError);
    else if (!this.#stream.closed) this.#stream.destroy(new Error('the response is not whole'));
    done(error);
  }

  #heads(chunk: Buffer, from: number): number {
    const before = this.#head.length;
    this.#head += chunk.toString('latin1', from);
    const end = this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (end < 0) return chunk.length;
    const head = readResponseHead(this.#names, this.#head.slice(0, end + 2), this.#method);
    this.#head = '';
    if (head instanceof HeadError) throw new Error(head.message);
    if (head.status < 200) this.#stream.additionalHeaders(headersOf(head));
    else this.#respond(head);
    return from + end + 4 - before;
  }

  #respond(head: ResponseHead): void {
    const trailing = head.body.kind === 'chunked' ? new ChunkedReader({ decode: true }) : undefined;
    const body = trailing ?? (head.body.kind === 'length' ? new LengthReader(head.body.bytes) : noBodyReader);
    this.#body = body;
    this.#complete = body.done;
    this.#stream.respond(headersOf(head), { endStream: body.done, waitForTrailers: trailing !== undefined });
    if (trailing) {
      this.#stream.once('wantTrailers', () => this.#stream.sendTrailers(headersOfLines(trailing.trailers)));
    }
  }

  #data(body: BodyReader, chunk: Buffer, from: number): number {
    const slices: Buffer[] = [];
    const next = body.feed(chunk, from, slices);
    for (const slice of slices) this.#stream.write(Buffer.from(slice));
    if (next < 0 || (body.done && next < chunk.length)) throw new Error('the response does not end where it says');
    if (body.done) {
      this.#complete = true;
      this.#stream.end();
    }
    return next;
  }
}

function headersOf(head: ResponseHead): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { ':status': head.status, ...headersOfLines(head.fields.passed) };
  if (head.fields.contentLengths > 0) headers['content-length'] = head.fields.contentLength;
  return headers;
}

function headersOfLines(lines: string): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (const line of lines.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const there = headers[name];
    headers[name] = there === undefined ? value : [...(Array.isArray(there) ? there : [there]), value];
  }
  return headers;
}
