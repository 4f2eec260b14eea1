import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { EbbError } from '../platform/errors.ts';
import { decompress, sniff } from './decompress.ts';
import type { ContentStore, Descriptor, Digest } from './images.ts';
import { isDigest } from './digest.ts';
import {
  choosePlatform,
  describePlatform,
  describePlatforms,
  mediaTypes,
  parseManifest,
  type Platform,
} from './manifest.ts';
import { readTar, show } from './tar.ts';

export interface ArchiveLimits {
  /** Files in an archive. */
  entries: number;
  /** Bytes of all files of an archive. */
  bytes: number;
}

export const defaultArchiveLimits: ArchiveLimits = { entries: 100_000, bytes: 256 * 1024 ** 3 };

type File = { kind: 'blob'; digest: Digest; size: number } | { kind: 'link'; to: string };
type Files = Map<string, File>;

/**
 * Stores every file of an archive and returns the manifest of the image `tag` in it. The archive is read once, as it
 * comes: neither format says in which order its files stand. May be compressed as a whole.
 *
 * `oci-archive`: a tar of an OCI layout (image-spec image-layout.md); `tag` is an `org.opencontainers.image.ref.name`.
 * `docker-archive`: what `docker save` writes, or `skopeo copy ... docker-archive:`; `tag` is one of its RepoTags.
 * Without a tag the archive must hold one image. Throws EbbError ImageCorrupt, ImageNotFound, ImageWrongPlatform.
 */
export async function readArchive(
  content: ContentStore,
  archive: Readable,
  options: {
    format: 'oci-archive' | 'docker-archive';
    tag?: string | undefined;
    platform: Platform;
    limits: ArchiveLimits;
  },
): Promise<Descriptor> {
  const files = await storeFiles(content, archive, options.limits);
  return options.format === 'oci-archive'
    ? await findInLayout(content, files, options.tag, options.platform)
    : await findInDockerArchive(content, files, options.tag);
}

async function storeFiles(content: ContentStore, archive: Readable, limits: ArchiveLimits): Promise<Files> {
  const files: Files = new Map();
  let bytes = 0;
  for await (const { entry, body } of readTar(decompress(archive))) {
    // Paths are keys of a map and never become paths on this machine.
    const path = posix.normalize(`/${entry.path}`).slice(1);
    bytes += entry.size;
    if (files.size >= limits.entries || bytes > limits.bytes) {
      throw corrupt(`it has more than ${limits.entries} files or ${limits.bytes} bytes`);
    }
    if (entry.type === 'file') {
      const digest = digestInPath(path);
      const stored = await content.put(Readable.from(body, { objectMode: false }), {
        size: entry.size,
        ...(digest && { digest }),
      });
      files.set(path, { kind: 'blob', ...stored });
    } else if (entry.type === 'symlink') {
      files.set(path, { kind: 'link', to: posix.normalize(`/${posix.dirname(path)}/${entry.target}`).slice(1) });
    } else if (entry.type === 'link') {
      files.set(path, { kind: 'link', to: posix.normalize(`/${entry.target}`).slice(1) });
    } else if (entry.type !== 'directory') {
      throw corrupt(`"${show(path)}" is a ${entry.type}, which no image archive has`);
    }
  }
  return files;
}

/** `blobs/sha256/<hex>` says what it must contain. */
function digestInPath(path: string): Digest | undefined {
  const digest = path.startsWith('blobs/sha256/') ? `sha256:${path.slice('blobs/sha256/'.length)}` : undefined;
  return isDigest(digest) ? digest : undefined;
}

function find(files: Files, path: string): { digest: Digest; size: number } | undefined {
  let file = files.get(path);
  // Old `docker save` links equal layers to each other, once.
  for (let hops = 0; file?.kind === 'link' && hops < 8; hops++) file = files.get(file.to);
  return file?.kind === 'blob' ? { digest: file.digest, size: file.size } : undefined;
}

async function findInLayout(
  content: ContentStore,
  files: Files,
  tag: string | undefined,
  platform: Platform,
): Promise<Descriptor> {
  const indexFile = find(files, 'index.json');
  if (!indexFile || !find(files, 'oci-layout'))
    throw corrupt('it is not an OCI archive: index.json or oci-layout is missing');
  const index = parseManifest(await content.read(indexFile.digest), mediaTypes.ociIndex);
  if (index.kind !== 'index') throw corrupt('its index.json is not an index');
  const nameOf = (m: Descriptor) => m.annotations?.['org.opencontainers.image.ref.name'];
  const named = tag === undefined ? index.manifests : index.manifests.filter((m) => nameOf(m) === tag);
  const isSet = new Set(named.map((m) => m.digest)).size === 1;
  const chosen =
    isSet || tag !== undefined
      ? named[0]
      : choosePlatform(
          named.filter((m) => m.platform),
          platform,
        );
  if (!chosen) {
    const tags = index.manifests.flatMap((m) => nameOf(m) ?? []);
    throw missing(tag, tags, index.manifests.length);
  }
  return await throughIndex(content, chosen, platform);
}

/** The image manifest behind `descriptor`, which may be an index. All of it is in the content store. */
export async function throughIndex(
  content: ContentStore,
  descriptor: Descriptor,
  platform: Platform,
): Promise<Descriptor> {
  const manifest = parseManifest(await content.read(descriptor.digest), descriptor.mediaType);
  if (manifest.kind === 'image') return descriptor;
  const chosen = choosePlatform(manifest.manifests, platform);
  if (!chosen) throw wrongPlatform(platform, describePlatforms(manifest.manifests));
  const inner = parseManifest(await content.read(chosen.digest), chosen.mediaType);
  if (inner.kind !== 'image') throw corrupt('it has an index inside an index');
  return chosen;
}

export function wrongPlatform(wanted: Platform, has: string): EbbError {
  return new EbbError(
    'ImageWrongPlatform',
    422,
    `it is not for this machine's platform ${describePlatform(wanted)}, but for: ${has}`,
  );
}

/** `docker save`'s manifest.json names config and layers; an OCI manifest is written from that. */
async function findInDockerArchive(content: ContentStore, files: Files, tag: string | undefined): Promise<Descriptor> {
  const listFile = find(files, 'manifest.json');
  if (!listFile) throw corrupt('it is not a docker archive: manifest.json is missing');
  const images = parseList((await content.read(listFile.digest)).toString('utf8'));
  const named = images.filter(
    (image) => tag === undefined || image.repoTags.some((name) => name === tag || name.endsWith(`:${tag}`)),
  );
  const [image, ...others] = named;
  if (!image || others.length > 0)
    throw missing(
      tag,
      images.flatMap((i) => i.repoTags),
      images.length,
    );
  const config = find(files, image.config);
  if (!config) throw corrupt(`its config "${image.config.slice(0, 120)}" is missing`);
  const layers = [];
  for (const path of image.layers) {
    const blob = find(files, posix.normalize(`/${path}`).slice(1));
    if (!blob) throw corrupt(`its layer "${path.slice(0, 120)}" is missing`);
    layers.push({ mediaType: await layerType(content, blob.digest), ...blob });
  }
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, ...config },
      layers,
    }),
  );
  return { mediaType: mediaTypes.ociManifest, ...(await content.put(bytes)) };
}

async function layerType(content: ContentStore, digest: Digest): Promise<string> {
  let head: Buffer = Buffer.alloc(0);
  for await (const chunk of await content.stream(digest)) {
    head = Buffer.concat([head, chunk as Buffer]);
    if (head.length >= 4) break;
  }
  const byCompression = { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd };
  return byCompression[sniff(head)];
}

function parseList(text: string): { config: string; repoTags: string[]; layers: string[] }[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new EbbError('ImageCorrupt', 422, 'the image archive is not valid: its manifest.json is not JSON', { cause });
  }
  const isStrings = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((v) => typeof v === 'string');
  if (!Array.isArray(list) || list.length > 1000)
    throw corrupt('its manifest.json is not a list of at most 1000 images');
  return list.map((item: unknown) => {
    const { Config: config, RepoTags: repoTags, Layers: layers } = (item ?? {}) as Record<string, unknown>;
    if (typeof config !== 'string' || !isStrings(layers) || !(repoTags == null || isStrings(repoTags))) {
      throw corrupt('its manifest.json lacks Config or Layers');
    }
    return { config, repoTags: repoTags ?? [], layers };
  });
}

function missing(tag: string | undefined, tags: readonly string[], count: number): EbbError {
  const listed = tags.length > 0 ? `it has ${tags.slice(0, 20).join(', ')}` : `its ${count} images have no tags`;
  const why =
    tag === undefined ? 'has more than one image or none for this machine; say which' : `has no image "${tag}"`;
  return new EbbError('ImageNotFound', 404, `the image archive ${why}: ${listed}`);
}

function corrupt(why: string): EbbError {
  return new EbbError('ImageCorrupt', 422, `the image archive is not valid: ${why}`);
}
