import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { Duplex } from 'node:stream';
import { errnoOf } from '../platform/errors.ts';
import { ChunkedReader, LengthReader, noBodyReader, type BodyReader } from './http1/body.ts';

/** RFC 9113 sections 6.2 and 7. */
const endStreamFlag = 0x1;
const noError = 0x0;
/** Fields that HTTP/2 has no place for (RFC 9113 section 8.2.2); `host` becomes `:authority`. */
const ownToHttp1 = new Set(['connection', 'host', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

/**
 * A connection to an instance that speaks HTTP/2 by prior knowledge (h2c, RFC 9113 section 3.3), in the clothes of one that
 * speaks HTTP/1.1: what is written are the requests that the gateway itself makes, what is read are responses to be checked as
 * strictly as any. So everything above it is written once. One stream at a time: concurrency is a matter of more connections,
 * as it is for HTTP/1.1. Trailers go through in chunked bodies.
 */
export class Http2Socket extends Duplex {
  readonly #session: ClientHttp2Session;
  /** Of the request that is being written. */
  #stream: ClientHttp2Stream | undefined;
  #head = '';
  #body: BodyReader | undefined;
  /** The stream that gives the response, while there is one. */
  #source: ClientHttp2Stream | undefined;

  constructor(target: { host: string; port: number }) {
    super({ allowHalfOpen: true });
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    // Loaded by the first one who needs it: 10 MB and 40 ms that a gateway of HTTP/1.1 apps never spends.
    const { connect } = process.getBuiltinModule('node:http2');
    this.#session = connect(`http://${host}:${target.port}`, { settings: { enablePush: false } });
    this.#session.once('connect', () => this.emit('connect'));
    this.#session.on('error', (error) => this.destroy(error));
    this.#session.once('close', () => this.destroy());
  }

  override _read(): void {
    this.#source?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (!this.#stream) {
        const before = this.#head.length;
        this.#head += chunk.toString('latin1', at);
        const end = this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3));
        if (end < 0) break;
        at += end + 4 - before;
        const head = this.#head.slice(0, end);
        this.#head = '';
        if (!this.#begin(head)) break; // answered already; what follows is not read any more
      } else {
        const slices: Buffer[] = [];
        at = this.#body?.feed(chunk, at, slices) ?? chunk.length;
        for (const slice of slices) this.#stream.write(slice);
      }
      if (this.#body?.done) {
        this.#stream?.end();
        this.#stream = undefined;
      }
    }
    if (!this.#stream?.writableNeedDrain) {
      done();
      return;
    }
    const stream = this.#stream;
    const settle = () => {
      stream.off('drain', settle).off('close', settle);
      done();
    };
    stream.once('drain', settle).once('close', settle);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#session.destroy();
    done(error);
  }

  #begin(head: string): boolean {
    const [line = '', ...fields] = head.split('\r\n');
    const [method = '', path = ''] = line.split(' ');
    const headers: OutgoingHttpHeaders = { ':method': method, ':path': path };
    let chunked = false;
    let length = 0;
    for (const field of fields) {
      const colon = field.indexOf(':');
      const name = field.slice(0, colon).toLowerCase();
      const value = field.slice(colon + 1).trim();
      if (name === 'host') headers[':authority'] = value;
      if (name === 'transfer-encoding') chunked = true;
      if (name === 'content-length') length = Number(value);
      if (ownToHttp1.has(name)) continue;
      const there = headers[name];
      headers[name] = there === undefined ? value : [...(Array.isArray(there) ? there : [String(there)]), value];
    }
    this.#body = chunked ? new ChunkedReader({ decode: true }) : length > 0 ? new LengthReader(length) : noBodyReader;
    try {
      this.#stream = this.#session.request(headers, { endStream: this.#body.done });
    } catch (error) {
      if (errnoOf(error) !== 'ERR_HTTP2_HEADER_SINGLE_VALUE') {
        // The instance has just said that it takes no more: as if it had closed the connection.
        this.destroy(error instanceof Error ? error : undefined);
        return false;
      }
      // Repeated where HTTP/2 allows it once: what HTTP/1.1 leaves open, the client has to make up its mind about.
      this.push('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      return false;
    }
    this.#follow(this.#stream, method);
    return true;
  }

  #follow(stream: ClientHttp2Stream, method: string): void {
    this.#source = stream;
    let chunked = false;
    let ended = false;
    let trailers = '';
    stream.on('continue', () => this.push('HTTP/1.1 100 Continue\r\n\r\n'));
    stream.on('response', (headers, flags) => {
      const status = headers[':status'] ?? 0;
      const empty = (flags & endStreamFlag) !== 0;
      const bodiless = method === 'HEAD' || status === 204 || status === 304;
      chunked = !empty && !bodiless && headers['content-length'] === undefined;
      const framing = chunked
        ? 'Transfer-Encoding: chunked\r\n'
        : empty && !bodiless && headers['content-length'] === undefined
          ? 'Content-Length: 0\r\n'
          : '';
      this.push(Buffer.from(`HTTP/1.1 ${status} \r\n${fieldLines(headers)}${framing}\r\n`, 'latin1'));
    });
    stream.on('trailers', (headers) => (trailers = fieldLines(headers)));
    stream.on('data', (data: Buffer) => {
      if (data.length === 0) return;
      const framed = chunked
        ? Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')])
        : data;
      if (!this.push(framed)) stream.pause();
    });
    stream.on('end', () => {
      // A reset also ends what can be read, and the code is known by then.
      if (stream.rstCode !== noError) return;
      ended = true;
      if (chunked) this.push(Buffer.from(`0\r\n${trailers}\r\n`, 'latin1'));
    });
    // Its error also closes it; the code says more than the error does.
    stream.on('error', () => undefined);
    stream.on('close', () => {
      if (this.#source === stream) this.#source = undefined;
      // Without its end a response is not whole, and nobody must take it for that.
      if (!ended) this.destroy(new Error(`the stream was reset with code ${stream.rstCode}`));
    });
  }
}

/** HTTP/1.1 field lines of what is no pseudo-header and has no other meaning to a connection. */
export function fieldLines(headers: IncomingHttpHeaders): string {
  let lines = '';
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(':') || ownToHttp1.has(name)) continue;
    for (const one of Array.isArray(value) ? value : [value]) lines += `${name}: ${one}\r\n`;
  }
  return lines;
}
