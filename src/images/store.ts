import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Spawner } from '../platform/spawn.ts';
import { defaultArchiveLimits, readArchive, throughIndex, wrongPlatform, type ArchiveLimits } from './archive.ts';
import { planGarbage, planRoots } from './collect.ts';
import { openContentStore, type DiskContentStore } from './content.ts';
import { defaultDockerConfigPath } from './credentials.ts';
import { chainIds, fitLayers } from './fit.ts';
import { defaultHttpLimits, type HttpLimits } from './http.ts';
import type { Descriptor, Digest, ImageConfig, ImageProgress, ImageStore, LocalImage } from './images.ts';
import { openLayerStore, type Layer, type LayerStore } from './layer.ts';
import {
  describePlatform,
  machinePlatform,
  mediaTypeOf,
  parseConfig,
  parseManifest,
  type Platform,
} from './manifest.ts';
import { eachInParallel, pullImage } from './pull.ts';
import {
  canonicalName,
  formatReference,
  localRegistry,
  parseReference,
  repositoryName,
  type Reference,
} from './reference.ts';
import { imageNotFound, listTags, RegistryClient } from './registry.ts';
import { SharedWork } from './shared-work.ts';
import { defaultLayerLimits, type LayerLimits } from './whiteout.ts';

export interface ImageStoreOptions {
  /** Holds everything: `content/` and `layers/`. One process and one opener at a time. */
  dir: string;
  logger: Logger;
  spawner: Spawner;
  clock: Clock;
  /** `~/.docker/config.json` unless given. */
  dockerConfigPath?: string;
  /** Registries (host or host:port) that are asked without TLS; loopback ones always are. */
  insecureRegistries?: string[];
  /** What images must be for; this machine unless given. */
  platform?: Platform;
  limits?: {
    layer?: Partial<LayerLimits>;
    archive?: Partial<ArchiveLimits>;
    http?: Partial<HttpLimits>;
    /** What was asked for this recently is not collected, so that a build can put its blobs before it names them. */
    collectGraceMs?: number;
  };
}

const defaultGraceMs = 10 * 60 * 1000;

/** Opens (and creates) the images of this machine, removing what a crash left half made. Dispose to stop pulls. */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  const limits = { ...defaultLayerLimits, ...options.limits?.layer };
  const content = await openContentStore(join(options.dir, 'content'), { clock: options.clock });
  const layers = await openLayerStore({ ...options, dir: join(options.dir, 'layers'), limits });
  const registry = new RegistryClient({
    clock: options.clock,
    spawner: options.spawner,
    dockerConfigPath: options.dockerConfigPath ?? defaultDockerConfigPath(),
    insecureRegistries: options.insecureRegistries ?? [],
    http: { ...defaultHttpLimits, ...options.limits?.http },
  });
  return new Store(options, content, layers, registry, limits);
}

class Store implements ImageStore {
  readonly content: DiskContentStore;
  readonly #options: ImageStoreOptions;
  readonly #layers: LayerStore;
  readonly #registry: RegistryClient;
  readonly #limits: LayerLimits;
  readonly #platform: Platform;
  readonly #ensuring = new SharedWork<string, LocalImage, Parameters<ImageProgress>[0]>();
  /** When each pull and import under way began: what they touch is not collected. */
  readonly #begun = new Map<symbol, number>();
  #collecting: Promise<unknown> = Promise.resolve();

  constructor(
    options: ImageStoreOptions,
    content: DiskContentStore,
    layers: LayerStore,
    registry: RegistryClient,
    limits: LayerLimits,
  ) {
    this.#options = options;
    this.content = content;
    this.#layers = layers;
    this.#registry = registry;
    this.#limits = limits;
    this.#platform = options.platform ?? machinePlatform();
  }

  async ensure(
    text: string,
    options: { policy?: 'Always' | 'IfNotPresent' | 'Never'; signal?: AbortSignal; onProgress?: ImageProgress } = {},
  ): Promise<LocalImage> {
    const reference = parseReference(text);
    const policy = options.policy ?? 'IfNotPresent';
    const work = (signal: AbortSignal, report: ImageProgress) =>
      this.#protected(reference, () => this.#ensure(reference, policy, signal, report));
    const image = await this.#ensuring.run(`${policy} ${canonicalName(reference)}`, work, options);
    return { ...image, reference: text };
  }

  async importArchive(
    archive: Readable,
    options: { format: 'oci-archive' | 'docker-archive'; tag?: string; name: string; signal?: AbortSignal },
  ): Promise<LocalImage> {
    const reference = parseReference(options.name);
    if (reference.digest) {
      throw new EbbError(
        'InvalidReference',
        400,
        `"${options.name}" cannot be given to an import: a digest is not chosen`,
      );
    }
    const signal = options.signal ?? new AbortController().signal;
    addAbortSignal(signal, archive);
    return await this.#protected(reference, async () => {
      const limits = { ...defaultArchiveLimits, ...this.#options.limits?.archive };
      const manifest = await readArchive(this.content, archive, { ...options, platform: this.#platform, limits }).catch(
        (error: unknown) => {
          throw storedDamage(error, 'the image archive');
        },
      );
      const image = await this.#open(reference, manifest, signal, () => undefined);
      await this.content.tag(canonicalName(reference), manifest);
      return { ...image, reference: options.name };
    });
  }

  async collect(inUse: readonly string[]): Promise<{ freedBytes: number }> {
    const digests = inUse.map((text) => {
      const { digest } = parseReference(text);
      if (!digest) throw new EbbError('InvalidReference', 400, `"${text}" in use is not resolved: it has no digest`);
      return digest;
    });
    const collected = this.#collecting.then(() => this.#collect(digests));
    this.#collecting = collected.catch(() => undefined);
    return await collected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ensuring.stop(new EbbError('Stopping', 503, 'the image store is being closed'));
    await this.#layers.stop();
    await this.#collecting;
    await this.#registry[Symbol.asyncDispose]();
  }

  async #ensure(
    reference: Reference,
    policy: 'Always' | 'IfNotPresent' | 'Never',
    signal: AbortSignal,
    report: ImageProgress,
  ): Promise<LocalImage> {
    const isLocal = reference.registry === localRegistry;
    if (policy !== 'Always' || reference.digest || isLocal) {
      const known = await this.#lookUp(reference);
      if (known && (await this.#isComplete(known))) return await this.#open(reference, known, signal, report);
    }
    if (isLocal || policy === 'Never') throw await this.#notHere(reference, policy);
    const manifest = await pullImage(reference, {
      content: this.content,
      registry: this.#registry,
      platform: this.#platform,
      largestLayerBytes: this.#limits.bytes,
      signal,
      onProgress: report,
    });
    const image = await this.#open(reference, manifest, signal, report);
    await this.content.tag(canonicalName(reference), manifest);
    this.#options.logger.info({ image: formatReference(reference), digest: manifest.digest }, 'pulled image');
    return image;
  }

  /** The image manifest that a reference stands for here, if any. */
  async #lookUp(reference: Reference): Promise<Descriptor | undefined> {
    const named = await this.content.resolve(canonicalName(reference));
    const digest = named?.digest ?? reference.digest;
    if (!digest || !(await this.content.has(digest))) return undefined;
    const bytes = await this.content.read(digest);
    return await throughIndex(
      this.content,
      { mediaType: mediaTypeOf(bytes), digest, size: bytes.length },
      this.#platform,
    );
  }

  async #isComplete(manifest: Descriptor): Promise<boolean> {
    const parsed = parseManifest(await this.content.read(manifest.digest), manifest.mediaType);
    if (parsed.kind !== 'image') return false;
    const blobs = [parsed.config, ...parsed.layers];
    return (await Promise.all(blobs.map((blob) => this.content.has(blob.digest)))).every(Boolean);
  }

  /** Checks the config, unpacks what is not unpacked, and describes the image. All blobs are here. */
  async #open(
    reference: Reference,
    manifest: Descriptor,
    signal: AbortSignal,
    report: ImageProgress,
  ): Promise<LocalImage> {
    const parsed = parseManifest(await this.content.read(manifest.digest), manifest.mediaType);
    if (parsed.kind !== 'image') throw new EbbError('ImageCorrupt', 422, `${manifest.digest} is not an image manifest`);
    const config = parseConfig(await this.content.read(parsed.config.digest), parsed.layers.length);
    this.#checkPlatform(config);
    const diffIds = config.rootfs.diff_ids;
    const unpacked = new Map<Digest, Layer>();
    const wanted = new Map(diffIds.map((diffId, i) => [diffId, parsed.layers[i]]));
    await eachInParallel([...wanted], signal, async ([diffId, blob], stop) => {
      if (!blob) return;
      const found = await this.#layers.find(diffId);
      if (!found)
        report({ message: `unpacking ${blob.digest.slice(0, 19)}`, doneBytes: unpacked.size, totalBytes: wanted.size });
      unpacked.set(diffId, found ?? (await this.#unpack(diffId, blob, stop)));
    });
    const stack = diffIds.flatMap((diffId) => {
      const layer = unpacked.get(diffId);
      return layer ? [{ diffId, layer }] : [];
    });
    const layerDirs = await fitLayers(this.#layers, this.#options.spawner, stack, signal);
    const resolved = `${repositoryName(reference)}@${manifest.digest}`;
    return { reference: formatReference(reference), resolved, manifest, config, layerDirs };
  }

  async #unpack(diffId: Digest, blob: Descriptor, signal: AbortSignal): Promise<Layer> {
    const open = () => this.content.stream(blob.digest);
    return await this.#layers.unpack(diffId, { size: blob.size, open }, signal);
  }

  #checkPlatform(config: ImageConfig): void {
    const { os, architecture } = config;
    if (os === this.#platform.os && architecture === this.#platform.architecture) return;
    throw wrongPlatform(this.#platform, describePlatform({ os, architecture }));
  }

  async #notHere(reference: Reference, policy: string): Promise<EbbError> {
    const repository = repositoryName(reference);
    const tags = (await this.content.names()).flatMap(({ name }) =>
      name.startsWith(`${repository}:`) ? [name.slice(repository.length + 1)] : [],
    );
    const why =
      reference.registry === localRegistry
        ? 'it was never built or imported here'
        : `it is not here, and the pull policy is ${policy}`;
    return imageNotFound(reference, tags.length > 0 ? `no such tag; ${listTags('local', tags)}` : why);
  }

  /** Runs `work` while nothing that it touches is collected; its errors name the image. */
  async #protected<T>(reference: Reference, work: () => Promise<T>): Promise<T> {
    const id = Symbol('lease');
    this.#begun.set(id, this.#options.clock.now());
    try {
      return await work();
    } catch (error) {
      throw aboutImage(reference, error);
    } finally {
      this.#begun.delete(id);
    }
  }

  async #collect(inUse: readonly Digest[]): Promise<{ freedBytes: number }> {
    const grace = this.#options.limits?.collectGraceMs ?? defaultGraceMs;
    const before = Math.min(this.#options.clock.now() - grace, ...this.#begun.values());
    const usedAt = new Map<Digest, number>();
    for await (const blob of this.content.blobs()) usedAt.set(blob.digest, blob.usedAt);
    const names = (await this.content.names()).map(({ name, manifest }) => ({ name, manifest: manifest.digest }));
    const { roots, untag } = planRoots({ names, inUse, usedAt, before });
    for (const name of untag) await this.content.untag(name);
    const reachable = new Set<Digest>();
    for (const root of roots) await this.#reach(root, reachable);

    let freedBytes = 0;
    for (const digest of planGarbage({ reachable, usedAt, before }))
      freedBytes += await this.content.delete(digest, before);
    const layersUsedAt = new Map<Digest, number>();
    for await (const layer of this.#layers.all()) layersUsedAt.set(layer.id, layer.usedAt);
    for (const id of planGarbage({ reachable, usedAt: layersUsedAt, before })) {
      freedBytes += await this.#layers.remove(id, before);
    }
    this.#options.logger.info({ freedBytes }, 'collected images');
    return { freedBytes };
  }

  /** Adds everything that a manifest needs: blobs, and unpacked layers by diffID and chain ID. */
  async #reach(root: Digest, reachable: Set<Digest>): Promise<void> {
    if (reachable.has(root)) return;
    reachable.add(root);
    try {
      const parsed = parseManifest(await this.content.read(root));
      if (parsed.kind === 'index') {
        for (const manifest of parsed.manifests) await this.#reach(manifest.digest, reachable);
        return;
      }
      for (const blob of [parsed.config, ...parsed.layers]) reachable.add(blob.digest);
      const config = parseConfig(await this.content.read(parsed.config.digest), parsed.layers.length);
      for (const id of [...config.rootfs.diff_ids, ...chainIds(config.rootfs.diff_ids)]) reachable.add(id);
    } catch (error) {
      // An index names manifests that were never fetched; a damaged image can't be run and keeps only what it names.
      this.#options.logger.debug({ manifest: root, error: messageOf(error) }, 'manifest not read while collecting');
    }
  }
}

function aboutImage(reference: Reference, error: unknown): unknown {
  const name = `image "${formatReference(reference)}"`;
  if (!(error instanceof EbbError) || error.message.startsWith(name)) return error;
  const cause = error.cause === undefined ? {} : { cause: error.cause };
  return new EbbError(error.code, error.status, `${name}: ${error.message}`, cause);
}

/** A blob that does not fit its digest means, to who handed it in, that what they handed in is damaged. */
function storedDamage(error: unknown, what: string): unknown {
  if (!(error instanceof EbbError) || error.code !== 'DigestMismatch') return error;
  return new EbbError('ImageCorrupt', 422, `${what} is damaged: ${error.message}`, { cause: error });
}
