import { Transform, type Readable, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { EbbError, messageOf } from '../platform/errors.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** What the first bytes of a stream say. Media types are not to be trusted here: `docker save` has none. */
export function sniff(head: Uint8Array): Compression {
  const is = (...magic: number[]) => magic.every((byte, i) => head[i] === byte);
  if (is(0x1f, 0x8b)) return 'gzip';
  // RFC 8878: a frame, or a skippable frame as zstd:chunked may put first.
  if (is(0x28, 0xb5, 0x2f, 0xfd) || ((head[0] ?? 0) >> 4 === 5 && is(head[0] ?? 0, 0x2a, 0x4d, 0x18))) return 'zstd';
  return 'none';
}

/**
 * The uncompressed bytes of `source`, whatever of gzip, zstd or nothing it is compressed with; gzip and zstd may come in
 * several members or frames (eStargz, zstd:chunked). Stopping early destroys `source`.
 * Throws EbbError ImageCorrupt for damaged data; errors of `source` itself pass through.
 */
export async function* decompress(source: Readable): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  try {
    let head: Buffer = Buffer.alloc(0);
    while (head.length < 4) {
      const next = await chunks.next();
      if (next.done) break;
      head = Buffer.concat([head, next.value]);
    }
    const rest = { [Symbol.asyncIterator]: () => withHead(head, chunks) };
    const compression = sniff(head);
    if (compression === 'none') yield* rest;
    else yield* inflate(rest, compression);
  } finally {
    source.destroy();
  }
}

async function* withHead(head: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
}

async function* inflate(source: AsyncIterable<Buffer>, compression: 'gzip' | 'zstd'): AsyncGenerator<Buffer> {
  const options = { chunkSize: 128 * 1024 };
  let failure: unknown;
  const watched = watch(source, (error) => (failure = error));
  // zstd's windowLogMax stays at its default, 27: a frame that asks for more than 128 MiB of memory is refused.
  const output = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  const done = compression === 'gzip' ? pipeline(watched, output) : pipeline(watched, new ZstdFrames(), output);
  // Reported by reading `output`; the promise is awaited below only to know that everything has ended.
  done.catch(() => undefined);
  try {
    yield* output as AsyncIterable<Buffer>;
  } catch (cause) {
    if (failure !== undefined) throw failure;
    if (cause instanceof EbbError) throw cause;
    throw new EbbError('ImageCorrupt', 422, `the ${compression} data is damaged: ${messageOf(cause)}`, { cause });
  } finally {
    output.destroy();
    await done.catch(() => undefined);
  }
}

async function* watch(source: AsyncIterable<Buffer>, onError: (error: unknown) => void): AsyncGenerator<Buffer> {
  try {
    yield* source;
  } catch (error) {
    onError(error);
    throw error;
  }
}

/**
 * Cuts a zstd stream at the ends of its frames and drops skippable ones (RFC 8878 section 3.1). Node's decompressor goes
 * on with a next frame only when that starts a new chunk, and otherwise ends silently after the first: data would be lost.
 */
export class ZstdFrames extends Transform {
  #state: 'magic' | 'header' | 'block' | 'copy' | 'skip' = 'magic';
  /** Bytes of the current field that are still to come, for 'copy' and 'skip'. */
  #left = 0;
  #afterCopy: 'magic' | 'block' = 'magic';
  #hasChecksum = false;
  /** A field that came in pieces. */
  #partial: Buffer = Buffer.alloc(0);

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#consume(this.#partial.length > 0 ? Buffer.concat([this.#partial, chunk]) : chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    const isAtEnd = this.#state === 'magic' && this.#partial.length === 0;
    done(isAtEnd ? null : new Error('unexpected end of file'));
  }

  #consume(data: Buffer): void {
    /** Start of what belongs to the current frame and has not been passed on. */
    let from = 0;
    let at = 0;
    for (;;) {
      const have = data.length - at;
      if (this.#state === 'copy' || this.#state === 'skip') {
        const step = Math.min(have, this.#left);
        at += step;
        this.#left -= step;
        if (this.#state === 'skip') from = at;
        if (this.#left > 0) break;
        this.#state = this.#state === 'skip' ? 'magic' : this.#afterCopy;
        if (this.#state === 'magic' && at > from) this.push(data.subarray(from, at));
        if (this.#state === 'magic') from = at;
        continue;
      }
      const step = this.#field(data, at, have);
      if (step === undefined) break;
      at += step;
    }
    // An unfinished field is kept back, whole fields are passed on.
    if (at > from) this.push(data.subarray(from, at));
    this.#partial = Buffer.from(data.subarray(at));
  }

  /** Reads one field at `at`, sets what follows, and returns its length; undefined when it is not there in full. */
  #field(data: Buffer, at: number, have: number): number | undefined {
    if (this.#state === 'magic') {
      // No frame is shorter than this, skippable or not.
      if (have < 8) return undefined;
      const magic = data.readUInt32LE(at);
      if (magic === 0xfd2fb528) {
        this.#state = 'header';
        return 4;
      }
      if (magic >>> 4 !== 0x184d2a5) throw new Error('not a zstd frame');
      this.#state = 'skip';
      this.#left = data.readUInt32LE(at + 4) + 8;
      return 0;
    }
    if (this.#state === 'header') {
      if (have < 1) return undefined;
      const descriptor = data[at] ?? 0;
      const sizeFlag = descriptor >> 6;
      const isSingleSegment = (descriptor & 0x20) !== 0;
      this.#hasChecksum = (descriptor & 0x04) !== 0;
      const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
      const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
      this.#copy(1 + (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes, 'block');
      return 0;
    }
    if (have < 3) return undefined;
    const header = data.readUIntLE(at, 3);
    const type = (header >> 1) & 3;
    if (type === 3) throw new Error('a zstd block is of the reserved type');
    const isLast = (header & 1) === 1;
    this.#copy(3 + (type === 1 ? 1 : header >> 3) + (isLast && this.#hasChecksum ? 4 : 0), isLast ? 'magic' : 'block');
    return 0;
  }

  #copy(bytes: number, after: 'magic' | 'block'): void {
    this.#state = 'copy';
    this.#left = bytes;
    this.#afterCopy = after;
  }
}
