import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import { EbbError, errnoOf, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Spawner } from '../platform/spawn.ts';
import { syncDir } from './atomic.ts';
import { decompress } from './decompress.ts';
import { hexOf } from './digest.ts';
import type { Digest } from './images.ts';
import { SharedWork } from './shared-work.ts';
import { encodeTarHeader, padding, readTar, tarEnd } from './tar.ts';
import { LayerRules, type LayerFacts, type LayerLimits } from './whiteout.ts';

/** An unpacked layer. `files` is its directory in overlayfs format. */
export interface Layer extends LayerFacts {
  files: string;
}

/** Ratios mean nothing for small layers: a few kilobytes of zeros compress a thousandfold. */
const ratioFromBytes = 64 * 1024 * 1024;
const unpackTimeoutMs = 60 * 60 * 1000;

/** What every command that touches layers runs with: no TAR_OPTIONS, no translated messages. */
export const cleanEnv = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };

/**
 * Unpacked layers below `dir`, one directory each, named by what is in it (a diffID, or a chain ID for layers that had
 * to be fitted to the ones below) and shared by all images: `<hex>/files` and, written last, `<hex>/layer.json`.
 * A layer is there in full or not at all: it is made in `tmp-...`, synced, then renamed. `openLayerStore` removes what a
 * crash left, so a directory has one opener at a time.
 */
export async function openLayerStore(options: {
  dir: string;
  clock: Clock;
  spawner: Spawner;
  logger: Logger;
  limits: LayerLimits;
}): Promise<LayerStore> {
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  for (const name of await readdir(options.dir)) {
    if (name.startsWith('tmp-')) await rm(join(options.dir, name), { recursive: true, force: true });
  }
  return new LayerStore(options);
}

export class LayerStore {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #spawner: Spawner;
  readonly #logger: Logger;
  readonly #limits: LayerLimits;
  readonly #making = new SharedWork<Digest, Layer, string>();
  /** Removals under way, and lookups under way: neither starts while the other runs. */
  readonly #removing = new Map<Digest, Promise<unknown>>();
  readonly #looking = new Map<Digest, number>();

  constructor(options: { dir: string; clock: Clock; spawner: Spawner; logger: Logger; limits: LayerLimits }) {
    this.#dir = options.dir;
    this.#clock = options.clock;
    this.#spawner = options.spawner;
    this.#logger = options.logger;
    this.#limits = options.limits;
  }

  /** The layer if it is unpacked; marks it as used now. */
  async find(id: Digest): Promise<Layer | undefined> {
    for (let removal; (removal = this.#removing.get(id)) !== undefined;) await removal;
    this.#looking.set(id, (this.#looking.get(id) ?? 0) + 1);
    try {
      const facts = join(this.#path(id), 'layer.json');
      const now = this.#clock.now() / 1000;
      await utimes(facts, now, now);
      return { ...(JSON.parse(await readFile(facts, 'utf8')) as LayerFacts), files: join(this.#path(id), 'files') };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    } finally {
      const others = (this.#looking.get(id) ?? 1) - 1;
      if (others === 0) this.#looking.delete(id);
      else this.#looking.set(id, others);
    }
  }

  /**
   * The layer with this diffID, unpacked from `open()`'s compressed tar if it is not there yet. Concurrent calls share
   * the work. Throws EbbError ImageCorrupt, UnsafeLayer, UnpackFailed.
   */
  async unpack(
    diffId: Digest,
    blob: { size: number; open(): Promise<Readable> },
    signal?: AbortSignal,
  ): Promise<Layer> {
    return await this.#making.run(
      diffId,
      (stop) => this.#make(diffId, stop, (dir) => this.#extract(diffId, blob, dir, stop)),
      {
        signal,
      },
    );
  }

  /** The layer kept as `id`; when it is not there, `fill` makes it in the empty directory that it is given. */
  async derive(id: Digest, fill: (dir: string) => Promise<LayerFacts>, signal?: AbortSignal): Promise<Layer> {
    return await this.#making.run(id, (stop) => this.#make(id, stop, fill), { signal });
  }

  /** Everything that is unpacked, with when it was last asked for (wall clock, milliseconds). */
  async *all(): AsyncIterable<{ id: Digest; usedAt: number }> {
    for (const name of await readdir(this.#dir)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      const info = await stat(join(this.#dir, name, 'layer.json')).catch(() => undefined);
      if (info) yield { id: `sha256:${name}`, usedAt: info.mtimeMs };
    }
  }

  /** Removes a layer that nobody has asked for since `before`. Returns the bytes freed. */
  async remove(id: Digest, before: number): Promise<number> {
    if (this.#removing.has(id) || this.#looking.has(id)) return 0;
    const trash = join(this.#dir, `tmp-${randomUUID()}`);
    const moved = (async () => {
      const info = await stat(join(this.#path(id), 'layer.json')).catch(() => undefined);
      if (!info || info.mtimeMs >= before) return false;
      await rename(this.#path(id), trash);
      return true;
    })();
    this.#removing.set(
      id,
      moved.catch(() => false),
    );
    try {
      if (!(await moved)) return 0;
    } finally {
      this.#removing.delete(id);
    }
    const du = await this.#spawner.run('du', ['-s', '-B1', trash], { env: cleanEnv, timeoutMs: unpackTimeoutMs });
    await rm(trash, { recursive: true, force: true });
    return Number.parseInt(du.stdout, 10) || 0;
  }

  /** Gives up what is being unpacked. */
  async stop(): Promise<void> {
    await this.#making.stop(new EbbError('Stopping', 503, 'the image store is being closed'));
  }

  #path(id: Digest): string {
    return join(this.#dir, hexOf(id));
  }

  async #make(id: Digest, signal: AbortSignal, fill: (dir: string) => Promise<LayerFacts>): Promise<Layer> {
    const found = await this.find(id);
    if (found) return found;
    const tmp = join(this.#dir, `tmp-${randomUUID()}`);
    const files = join(tmp, 'files');
    try {
      await mkdir(files, { recursive: true, mode: 0o755 });
      const facts = await fill(files);
      signal.throwIfAborted();
      const { opaqueRoot, impliedDirs } = facts;
      await writeFile(join(tmp, 'layer.json'), JSON.stringify({ opaqueRoot, impliedDirs }), { flag: 'wx' });
      // One syncfs for all files, so that after a power cut a layer that has its name also has its content.
      const sync = await this.#spawner.run('sync', ['-f', tmp], { env: cleanEnv, timeoutMs: unpackTimeoutMs });
      if (sync.code !== 0) throw new EbbError('UnpackFailed', 500, `cannot sync ${tmp}: ${sync.stderr.trim()}`);
      await rename(tmp, this.#path(id));
      await syncDir(this.#dir);
    } catch (error) {
      await rm(tmp, { recursive: true, force: true });
      throw error;
    }
    const made = await this.find(id);
    if (!made) throw new EbbError('UnpackFailed', 500, `layer ${id} vanished from ${this.#dir}`);
    return made;
  }

  async #extract(
    diffId: Digest,
    blob: { size: number; open(): Promise<Readable> },
    dir: string,
    signal: AbortSignal,
  ): Promise<LayerFacts> {
    const rules = new LayerRules(this.#limits);
    let failure: unknown;
    let isComplete = false;
    const rewrite = async function* (limits: LayerLimits): AsyncGenerator<Buffer> {
      try {
        yield* rewriteLayer(await blob.open(), { diffId, compressedSize: blob.size, limits, rules });
        isComplete = true;
      } catch (error) {
        failure = error;
        throw error;
      }
    };
    const input = Readable.from(rewrite(this.#limits), { objectMode: false, highWaterMark: 1024 * 1024 });
    const args = ['-x', '-f', '-', '-C', dir, '-p', '--same-owner', '--numeric-owner', '--delay-directory-restore'];
    const xattrs = ['--xattrs', '--xattrs-include=*', '--warning=no-timestamp'];
    const result = await this.#spawner
      .run('tar', [...args, ...xattrs], { env: cleanEnv, input, signal, timeoutMs: unpackTimeoutMs })
      .finally(() => input.destroy());
    signal.throwIfAborted();
    if (failure !== undefined) throw named(diffId, failure);
    const words = result.stderr.trim().split('\n').slice(-3).join('; ');
    if (/No space left on device|Disk quota exceeded/.test(words)) {
      throw new EbbError(
        'DiskFull',
        507,
        `no space is left to unpack layer ${diffId} in ${this.#dir}; free some or collect images`,
      );
    }
    if (result.code !== 0 || !isComplete) {
      throw new EbbError(
        'UnpackFailed',
        500,
        `cannot unpack layer ${diffId} (tar exit ${result.code}): ${words || 'no output'}`,
      );
    }
    if (words) this.#logger.warn({ layer: diffId, tar: words }, 'tar has something to say about a layer');
    return rules.facts();
  }
}

/**
 * The tar stream that GNU tar is to extract for a layer's compressed tar: checked, whiteouts translated to overlayfs.
 * Ends only when every byte of the source has been read and its digest is `diffId`.
 */
async function* rewriteLayer(
  source: Readable,
  layer: { diffId: Digest; compressedSize: number; limits: LayerLimits; rules: LayerRules },
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  const plain = measured(decompress(source), hash, layer.compressedSize, layer.limits);
  for await (const { entry, body } of readTar(plain)) {
    const headers = layer.rules.admit(entry);
    if (headers.length === 0) continue;
    yield Buffer.concat(headers.map(encodeTarHeader));
    // Marks have no body, and what is made in their place has none either.
    if (headers.at(-1)?.size !== entry.size || entry.size === 0) continue;
    yield* body;
    yield padding(entry.size);
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== layer.diffId) {
    throw new EbbError('ImageCorrupt', 422, `its content has the digest ${actual} instead`);
  }
  const last = layer.rules.finish();
  for (const entry of last) yield encodeTarHeader(entry);
  yield tarEnd();
}

async function* measured(
  source: AsyncIterable<Buffer>,
  hash: ReturnType<typeof createHash>,
  compressedSize: number,
  limits: LayerLimits,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > limits.bytes)
      throw new EbbError('UnsafeLayer', 422, `it has more than ${limits.bytes} bytes uncompressed`);
    if (bytes > ratioFromBytes && bytes > compressedSize * limits.ratio) {
      throw new EbbError(
        'UnsafeLayer',
        422,
        `${compressedSize} bytes expand to more than ${bytes}: a decompression bomb`,
      );
    }
    hash.update(chunk);
    yield chunk;
  }
}

function named(diffId: Digest, cause: unknown): EbbError {
  const [code, status] = cause instanceof EbbError ? [cause.code, cause.status] : ['UnpackFailed', 500];
  return new EbbError(code, status, `layer ${diffId}: ${messageOf(cause)}`, { cause });
}
