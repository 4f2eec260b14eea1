import { FieldNames, HeadError, hasForbiddenBytes, readFields } from './fields.ts';

/** Cuts one message's body out of a stream of bytes. */
export interface BodyReader {
  /**
   * Reads `chunk` from index `from` and adds to `out` what must be sent on. Returns the index of the first byte that is not
   * part of this body any more (`chunk.length` when all was), or -1 if the framing is broken: then nothing more may be read.
   */
  feed(chunk: Buffer, from: number, out: Buffer[]): number;
  /** The whole body was seen. */
  readonly done: boolean;
  /** What was sent on so far is a whole number of chunks: the body can be ended here with a last chunk. */
  readonly atBoundary: boolean;
}

export const noBodyReader: BodyReader = { feed: (_chunk, from) => from, done: true, atBoundary: false };

/** A body of known length. */
export class LengthReader implements BodyReader {
  #left: number;
  readonly atBoundary = false;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  feed(chunk: Buffer, from: number, out: Buffer[]): number {
    const end = Math.min(chunk.length, from + this.#left);
    this.#left -= end - from;
    if (end > from) out.push(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end));
    return end;
  }
}

/** A body that ends with its connection; never done by itself. */
export class CloseReader implements BodyReader {
  readonly done = false;
  readonly atBoundary = false;

  feed(chunk: Buffer, from: number, out: Buffer[]): number {
    if (from < chunk.length) out.push(from === 0 ? chunk : chunk.subarray(from));
    return chunk.length;
  }
}

type ChunkState = 'size' | 'extension' | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailer' | 'done';

const maxExtensionBytes = 1024;
const maxTrailerBytes = 8 * 1024;
/** Twelve hexadecimal digits stay below 2^53. */
const maxSizeDigits = 12;

/** Trailers that would change how a message is framed, routed or trusted (RFC 9110 section 6.5.1). */
const noTrailer = new Set([
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'content-type',
  'content-range',
  'host',
  'trailer',
  'connection',
  'upgrade',
  'te',
  'keep-alive',
  'expect',
  'authorization',
  'set-cookie',
  'cookie',
  'cache-control',
]);

/**
 * A chunked body (RFC 9112 section 7.1), checked byte by byte: CRLF line ends only, hexadecimal sizes, bounded extensions and
 * trailers. Sends the chunks on as they came, without extensions; with `decode`, the data alone.
 */
export class ChunkedReader implements BodyReader {
  readonly #decode: boolean;
  #state: ChunkState = 'size';
  /** The size so far while reading it, then the data bytes still to come. */
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailer = '';

  constructor(options: { decode: boolean } = { decode: false }) {
    this.#decode = options.decode;
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /** The trailer's field lines, once done with `decode`. */
  get trailers(): string {
    return this.#state === 'done' ? this.#trailer.slice(0, -2) : '';
  }

  get atBoundary(): boolean {
    return this.#state === 'size' && this.#digits === 0;
  }

  feed(chunk: Buffer, from: number, out: Buffer[]): number {
    const decode = this.#decode;
    let at = from;
    // The bytes from here on are to be sent as they are; -1 while bytes are being left out.
    let keep =
      decode && this.#state !== 'data' ? -1 : this.#state === 'extension' || this.#state === 'trailer' ? -1 : from;
    const flush = (end: number) => {
      if (keep >= 0 && end > keep) out.push(keep === 0 && end === chunk.length ? chunk : chunk.subarray(keep, end));
      keep = -1;
    };
    while (at < chunk.length) {
      // Reason for the assertion: the loop condition bounds the index.
      const byte = chunk[at] as number;
      switch (this.#state) {
        case 'size': {
          const digit = hexDigit(byte);
          if (digit >= 0) {
            if (++this.#digits > maxSizeDigits) return -1;
            this.#left = this.#left * 16 + digit;
          } else if (this.#digits === 0) {
            return -1;
          } else if (byte === 13) {
            this.#state = 'size-lf';
          } else if (byte === 59 || byte === 32 || byte === 9) {
            flush(at);
            this.#extensionBytes = 0;
            this.#state = 'extension';
          } else {
            return -1;
          }
          at++;
          break;
        }
        case 'extension':
          if (byte === 13) {
            if (!decode) keep = at;
            this.#state = 'size-lf';
          } else if ((byte < 32 && byte !== 9) || byte === 127 || ++this.#extensionBytes > maxExtensionBytes) {
            return -1;
          }
          at++;
          break;
        case 'size-lf':
          if (byte !== 10) return -1;
          at++;
          this.#digits = 0;
          if (this.#left > 0) {
            this.#state = 'data';
            if (decode) keep = at;
          } else if (!decode && keep >= 0 && chunk[at] === 13 && chunk[at + 1] === 10) {
            // The usual end, all in one piece: no trailer to hold back.
            at += 2;
            this.#state = 'done';
            flush(at);
            return at;
          } else {
            flush(at);
            this.#state = 'trailer';
          }
          break;
        case 'data': {
          const n = Math.min(this.#left, chunk.length - at);
          this.#left -= n;
          at += n;
          if (this.#left === 0) {
            if (decode) flush(at);
            this.#state = 'data-cr';
          }
          break;
        }
        case 'data-cr':
          if (byte !== 13) return -1;
          at++;
          this.#state = 'data-lf';
          break;
        case 'data-lf':
          if (byte !== 10) return -1;
          at++;
          this.#state = 'size';
          break;
        case 'trailer':
          this.#trailer += String.fromCharCode(byte);
          at++;
          if (byte === 10 && (this.#trailer === '\r\n' || this.#trailer.endsWith('\r\n\r\n'))) {
            if (!this.#trailerAllowed()) return -1;
            if (!decode) out.push(Buffer.from(this.#trailer, 'latin1'));
            this.#state = 'done';
            return at;
          }
          if (this.#trailer.length > maxTrailerBytes) return -1;
          break;
        case 'done':
          return at;
      }
    }
    flush(at);
    return at;
  }

  #trailerAllowed(): boolean {
    if (this.#trailer === '\r\n') return true;
    const lines = this.#trailer.slice(0, -2);
    if (hasForbiddenBytes(lines)) return false;
    if (readFields(new FieldNames(new Map()), lines, 0) instanceof HeadError) return false;
    return lines.split('\r\n').every((line) => !noTrailer.has(line.slice(0, line.indexOf(':')).toLowerCase()));
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  if (byte >= 97 && byte <= 102) return byte - 87;
  if (byte >= 65 && byte <= 70) return byte - 55;
  return -1;
}
