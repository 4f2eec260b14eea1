import type { ContentStore, Descriptor, Digest, ImageConfig } from './images.ts';
import { mediaTypes } from './manifest.ts';
import { canonicalName, parseReference, repositoryName } from './reference.ts';

/** One layer of an image to be written: its blob, already in the content store, and the digest of its uncompressed tar. */
export interface NewLayer {
  descriptor: Descriptor;
  diffId: Digest;
}

/**
 * Publishes an image whose layers are in `content` already: stores its config and OCI manifest and points
 * `name` (`ebb.local/...` for images that exist only here) at it. The same input gives the same digest:
 * no time and no randomness goes in that the caller did not put there.
 * `config.rootfs` is filled in from `layers` (lowest first). Throws EbbError BlobNotFound when a layer is missing.
 */
export async function writeImage(
  content: ContentStore,
  image: { layers: readonly NewLayer[]; config: Omit<ImageConfig, 'rootfs'>; name: string },
): Promise<{ digest: Digest; reference: string; manifest: Descriptor }> {
  const name = parseReference(image.name);
  for (const layer of image.layers) {
    // A put of nothing is never right here: read() of a missing blob throws the error that names it.
    if (!(await content.has(layer.descriptor.digest))) await content.read(layer.descriptor.digest);
  }
  const config: ImageConfig = {
    ...image.config,
    rootfs: { type: 'layers', diff_ids: image.layers.map((layer) => layer.diffId) },
  };
  const configBlob = await content.put(Buffer.from(JSON.stringify(config)));
  const manifestBytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, ...configBlob },
      layers: image.layers.map(({ descriptor: { mediaType, digest, size } }) => ({ mediaType, digest, size })),
    }),
  );
  const stored = await content.put(manifestBytes);
  const manifest: Descriptor = {
    mediaType: mediaTypes.ociManifest,
    ...stored,
    platform: { os: config.os, architecture: config.architecture },
  };
  await content.tag(canonicalName(name), manifest);
  return { digest: stored.digest, reference: `${repositoryName(name)}@${stored.digest}`, manifest };
}
