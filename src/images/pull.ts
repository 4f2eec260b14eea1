import { EbbError, messageOf } from '../platform/errors.ts';
import { wrongPlatform } from './archive.ts';
import type { ContentStore, Descriptor, Digest, ImageProgress } from './images.ts';
import {
  choosePlatform,
  describePlatforms,
  largestManifestBytes,
  mediaTypeOf,
  parseManifest,
  type Platform,
} from './manifest.ts';
import { formatReference, type Reference } from './reference.ts';
import type { RegistryClient } from './registry.ts';

const parallelLayers = 3;
/** Progress is reported about this often, so that a fast pull does not drown its listener. */
const reportEveryBytes = 1024 * 1024;

/**
 * Brings an image's manifest for `platform`, its config and its layers into `content`, verified; what is there already is
 * not fetched. Returns the manifest's descriptor; tagging is the caller's.
 * Throws EbbError ImageNotFound, ImageWrongPlatform, ImageCorrupt, RegistryUnauthorized, RegistryUnreachable.
 */
export async function pullImage(
  reference: Reference,
  parts: {
    content: ContentStore;
    registry: RegistryClient;
    platform: Platform;
    largestLayerBytes: number;
    signal: AbortSignal;
    onProgress: ImageProgress;
  },
): Promise<Descriptor> {
  const name = formatReference(reference);
  parts.onProgress({ message: `asking ${reference.registry} for ${name}` });
  const { manifest, layers, config } = await fetchManifest(reference, parts);
  const wanted = [config, ...layers];
  if (wanted.some((blob) => blob.size > parts.largestLayerBytes)) {
    throw new EbbError(
      'ImageCorrupt',
      422,
      `image "${name}" has a layer of more than ${parts.largestLayerBytes} bytes`,
    );
  }
  const totalBytes = wanted.reduce((sum, blob) => sum + blob.size, 0);
  let doneBytes = 0;
  let reported = 0;
  const onBytes = (bytes: number) => {
    doneBytes += bytes;
    if (doneBytes - reported < reportEveryBytes && doneBytes < totalBytes) return;
    reported = doneBytes;
    parts.onProgress({ message: `pulling ${name}`, doneBytes, totalBytes });
  };
  await eachInParallel(wanted, parts.signal, async (blob, signal) => {
    if (await parts.content.has(blob.digest)) return onBytes(blob.size);
    await fetchBlob(reference, blob, { ...parts, signal }, onBytes);
  });
  return manifest;
}

async function fetchBlob(
  reference: Reference,
  blob: Descriptor,
  parts: { content: ContentStore; registry: RegistryClient; signal: AbortSignal },
  onBytes: (bytes: number) => void,
): Promise<void> {
  const data = parts.registry.blob(reference, blob, { signal: parts.signal, onBytes });
  try {
    await parts.content.put(data, blob);
  } catch (cause) {
    if (!(cause instanceof EbbError) || cause.code !== 'DigestMismatch') throw cause;
    const words = `image "${formatReference(reference)}": blob ${blob.digest} arrives damaged: ${messageOf(cause)}`;
    throw new EbbError('ImageCorrupt', 422, words, { cause });
  }
}

async function fetchManifest(
  reference: Reference,
  parts: { content: ContentStore; registry: RegistryClient; platform: Platform; signal: AbortSignal },
): Promise<{ manifest: Descriptor; config: Descriptor; layers: Descriptor[] }> {
  let digest: Digest | undefined;
  // An index leads to a manifest; an index in an index is nothing that a registry sends for an image.
  for (let depth = 0; depth < 2; depth++) {
    const { signal } = parts;
    const answer = await parts.registry.manifest(reference, { ...(digest ? { digest } : {}), signal });
    const parsed = parseManifest(answer.bytes, answer.mediaType);
    if (parsed.kind === 'image') {
      const stored = await parts.content.put(answer.bytes);
      const manifest = { mediaType: mediaTypeOf(answer.bytes), ...stored };
      return { manifest, config: parsed.config, layers: parsed.layers };
    }
    const chosen = choosePlatform(parsed.manifests, parts.platform);
    if (!chosen) throw wrongPlatform(parts.platform, describePlatforms(parsed.manifests));
    if (chosen.size > largestManifestBytes)
      throw new EbbError('ImageCorrupt', 422, `manifest ${chosen.digest} is too large`);
    digest = chosen.digest;
  }
  throw new EbbError('ImageCorrupt', 422, `image "${formatReference(reference)}" is an index inside an index`);
}

/** Runs `work` for every item, a few at once; the first failure stops the others and is thrown when they have ended. */
export async function eachInParallel<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const queue = [...items];
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        either.throwIfAborted();
        await work(item, either);
      } catch (error) {
        failure ??= { error };
        stop.abort();
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: parallelLayers }, worker));
  signal.throwIfAborted();
  if (failure) throw failure.error;
}
