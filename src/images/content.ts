import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { systemClock, type Clock } from '../platform/clock.ts';
import { EbbError, errnoOf } from '../platform/errors.ts';
import { syncDir, writeFileAtomic } from './atomic.ts';
import { digestOf, hexOf, isDigest } from './digest.ts';
import type { ContentStore, Descriptor, Digest } from './images.ts';

/** Largest blob that {@link ContentStore.read} returns whole. */
export const smallBlobBytes = 8 * 1024 * 1024;
/** Longest name that can be tagged; references are at most 255 + 128 + 72 characters. */
const longestName = 512;

/** A {@link ContentStore} with what garbage collection needs beside it. */
export interface DiskContentStore extends ContentStore {
  /** Where a blob lies. The file may not exist. */
  path(digest: Digest): string;
  /** Every blob, with when it was last stored or asked for (wall clock, milliseconds). */
  blobs(): AsyncIterable<{ digest: Digest; size: number; usedAt: number }>;
  /** Deletes a blob that nobody has stored or asked for since `before` (milliseconds). Returns the bytes freed. */
  delete(digest: Digest, before: number): Promise<number>;
}

/**
 * Opens (and creates) a content store below `dir`: `blobs/sha256/aa/<hex>`, one file a name under `names/`, writes in
 * progress under `ingest/`. What a crashed writer left in `ingest/` is removed, so a directory has one opener at a time.
 */
export async function openContentStore(dir: string, options: { clock?: Clock } = {}): Promise<DiskContentStore> {
  const ingest = join(dir, 'ingest');
  await rm(ingest, { recursive: true, force: true });
  for (const sub of ['ingest', 'names', 'blobs/sha256']) await mkdir(join(dir, sub), { recursive: true, mode: 0o700 });
  return new Content(dir, options.clock ?? systemClock);
}

class Content implements DiskContentStore {
  readonly #dir: string;
  readonly #ingest: string;
  readonly #clock: Clock;
  /** Writers by digest: a second writer of the same digest waits for the first. */
  readonly #writing = new Map<Digest, Promise<void>>();
  /** Deletions under way, and uses under way: neither starts while the other runs. */
  readonly #deleting = new Map<Digest, Promise<number>>();
  readonly #using = new Map<Digest, number>();

  constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#ingest = join(dir, 'ingest');
    this.#clock = clock;
  }

  path(digest: Digest): string {
    const hex = hexOf(valid(digest));
    return join(this.#dir, 'blobs', 'sha256', hex.slice(0, 2), hex);
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.#use(digest)) !== undefined;
  }

  /** The size of a blob that is here, marking it as used now so that a collection leaves it alone for a while. */
  async #use(digest: Digest): Promise<number | undefined> {
    const path = this.path(digest);
    return await this.#holding(digest, async () => {
      try {
        const now = this.#clock.now() / 1000;
        await utimes(path, now, now);
        return (await stat(path)).size;
      } catch (error) {
        return ignoreMissing(error);
      }
    });
  }

  /** Runs `work` while the blob can't be deleted. */
  async #holding<T>(digest: Digest, work: () => Promise<T>): Promise<T> {
    for (let deletion; (deletion = this.#deleting.get(digest)) !== undefined;) await deletion;
    this.#using.set(digest, (this.#using.get(digest) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const others = (this.#using.get(digest) ?? 1) - 1;
      if (others === 0) this.#using.delete(digest);
      else this.#using.set(digest, others);
    }
  }

  async put(
    data: Readable | Uint8Array,
    expected: { digest?: Digest; size?: number } = {},
  ): Promise<{ digest: Digest; size: number }> {
    // A stream that breaks while this waits must not be an uncaught exception; reading it reports the error again.
    if (data instanceof Readable) data.on('error', () => undefined);
    const digest = expected.digest === undefined ? undefined : valid(expected.digest);
    if (digest === undefined) return await this.#write(data, expected);
    for (let others; (others = this.#writing.get(digest)) !== undefined;) await others;
    // No await between the loop's last look and the entry in the map, or two writers could pass at once.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#writing.set(digest, promise);
    try {
      const size = await this.#use(digest);
      if (size === undefined) return await this.#write(data, expected);
      if (data instanceof Readable) data.destroy();
      if (expected.size !== undefined && expected.size !== size)
        throw mismatch(`size ${expected.size}`, `size ${size}`);
      return { digest, size };
    } finally {
      this.#writing.delete(digest);
      resolve();
    }
  }

  async #write(data: Readable | Uint8Array, expected: { digest?: Digest; size?: number }) {
    const tmp = join(this.#ingest, randomUUID());
    const hash = createHash('sha256');
    let size = 0;
    try {
      const file = await open(tmp, 'wx', 0o600);
      try {
        for await (const chunk of data instanceof Readable ? data : [data]) {
          const bytes = chunk as Uint8Array;
          size += bytes.length;
          if (expected.size !== undefined && size > expected.size) {
            throw mismatch(`size ${expected.size}`, `more than ${expected.size} bytes`);
          }
          hash.update(bytes);
          await writeAll(file, bytes);
        }
        if (expected.size !== undefined && size !== expected.size) {
          throw mismatch(`size ${expected.size}`, `size ${size}`);
        }
        const digest: Digest = `sha256:${hash.digest('hex')}`;
        if (expected.digest !== undefined && digest !== expected.digest) throw mismatch(expected.digest, digest);
        await file.sync();
        await this.#publish(tmp, digest);
        return { digest, size };
      } finally {
        await file.close();
      }
    } catch (error) {
      await rm(tmp, { force: true });
      if (errnoOf(error) !== 'ENOSPC' && errnoOf(error) !== 'EDQUOT') throw error;
      throw new EbbError('DiskFull', 507, `no space is left in ${this.#dir}; free some or collect images`, {
        cause: error,
      });
    }
  }

  async #publish(tmp: string, digest: Digest): Promise<void> {
    const path = this.path(digest);
    const parent = dirname(path);
    const now = this.#clock.now() / 1000;
    await utimes(tmp, now, now);
    await this.#holding(digest, async () => {
      if ((await mkdir(parent, { recursive: true, mode: 0o700 })) !== undefined) await syncDir(dirname(parent));
      await rename(tmp, path);
      await syncDir(parent);
    });
  }

  async read(digest: Digest): Promise<Buffer> {
    const size = await this.#use(digest);
    if (size === undefined) throw notFound(digest);
    if (size > smallBlobBytes) {
      throw new EbbError(
        'BlobTooLarge',
        400,
        `blob ${digest} has ${size} bytes; at most ${smallBlobBytes} are read at once`,
      );
    }
    const bytes = await readFile(this.path(digest));
    const actual = digestOf(bytes);
    // The disk lies sometimes; small blobs decide what is run, so they are checked on every read.
    if (actual !== digest) throw mismatch(digest, actual);
    return bytes;
  }

  async stream(digest: Digest): Promise<Readable> {
    if ((await this.#use(digest)) === undefined) throw notFound(digest);
    const file = await open(this.path(digest), 'r').catch((cause: unknown) => {
      throw errnoOf(cause) === 'ENOENT' ? notFound(digest) : cause;
    });
    return createReadStream('', { fd: file, highWaterMark: 256 * 1024 });
  }

  async tag(name: string, manifest: Descriptor): Promise<void> {
    if (!(await this.has(manifest.digest))) throw notFound(manifest.digest);
    await writeFileAtomic(this.#namePath(name), JSON.stringify({ name, manifest }), this.#ingest);
  }

  async untag(name: string): Promise<void> {
    await rm(this.#namePath(name), { force: true });
    await syncDir(join(this.#dir, 'names'));
  }

  async resolve(name: string): Promise<Descriptor | undefined> {
    return (await readName(this.#namePath(name)))?.manifest;
  }

  async names(): Promise<{ name: string; manifest: Descriptor }[]> {
    const found = [];
    for (const file of await readdir(join(this.#dir, 'names'))) {
      const entry = await readName(join(this.#dir, 'names', file));
      if (entry) found.push(entry);
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #namePath(name: string): string {
    if (name.length === 0 || name.length > longestName) {
      throw new EbbError(
        'InvalidReference',
        400,
        `image name "${name.slice(0, 80)}" must have 1 to ${longestName} characters`,
      );
    }
    // Names hold slashes and colons; their hash does not.
    return join(this.#dir, 'names', `${hexOf(digestOf(name))}.json`);
  }

  async *blobs(): AsyncIterable<{ digest: Digest; size: number; usedAt: number }> {
    const root = join(this.#dir, 'blobs', 'sha256');
    for (const shard of await readdir(root)) {
      for (const hex of await readdir(join(root, shard))) {
        const digest = `sha256:${hex}`;
        if (!isDigest(digest)) continue;
        const info = await stat(join(root, shard, hex)).catch(ignoreMissing);
        if (info) yield { digest, size: info.size, usedAt: info.mtimeMs };
      }
    }
  }

  async delete(digest: Digest, before: number): Promise<number> {
    const path = this.path(digest);
    if (this.#deleting.has(digest) || this.#writing.has(digest) || this.#using.has(digest)) return 0;
    const freed = (async () => {
      const info = await stat(path).catch(ignoreMissing);
      if (!info || info.mtimeMs >= before) return 0;
      await unlink(path);
      return info.size;
    })();
    this.#deleting.set(
      digest,
      freed.catch(() => 0),
    );
    try {
      return await freed;
    } finally {
      this.#deleting.delete(digest);
    }
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
}

async function readName(path: string): Promise<{ name: string; manifest: Descriptor } | undefined> {
  const text = await readFile(path, 'utf8').catch(ignoreMissing);
  return text === undefined ? undefined : (JSON.parse(text) as { name: string; manifest: Descriptor });
}

function ignoreMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
  return undefined;
}

function valid(digest: Digest): Digest {
  // The type is a promise that data from outside does not keep, and the digest becomes a path.
  if (!isDigest(digest))
    throw new EbbError('InvalidDigest', 400, `"${String(digest).slice(0, 80)}" is not a sha256 digest`);
  return digest;
}

function notFound(digest: Digest): EbbError {
  return new EbbError('BlobNotFound', 404, `blob ${digest} is not in the content store`);
}

function mismatch(expected: string, actual: string): EbbError {
  return new EbbError('DigestMismatch', 400, `content has ${actual}, expected ${expected}`);
}
