import { EbbError } from '../platform/errors.ts';
import { isDigest } from './digest.ts';
import type { Descriptor, Digest, ImageConfig } from './images.ts';

export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** What a client that reads all of these sends as `Accept`. */
export const acceptedManifests = [
  mediaTypes.ociManifest,
  mediaTypes.ociIndex,
  mediaTypes.dockerManifest,
  mediaTypes.dockerList,
].join(', ');

/** Registries refuse larger manifests too (distribution-spec: 4 MiB). */
export const largestManifestBytes = 4 * 1024 * 1024;
const most = { layers: 500, indexEntries: 2000, listItems: 10_000, stringLength: 128 * 1024 };

export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

export type Manifest =
  { kind: 'image'; config: Descriptor; layers: Descriptor[] } | { kind: 'index'; manifests: Descriptor[] };

/**
 * Parses and checks an OCI image manifest or index, or Docker's schema 2 manifest or list (image-spec manifest.md,
 * image-index.md). `mediaType` is what the sender called it; the document's own `mediaType`, when there, must agree.
 * Throws EbbError ImageCorrupt naming the field.
 */
export function parseManifest(bytes: Uint8Array, mediaType?: string): Manifest {
  if (bytes.length > largestManifestBytes) throw corrupt('manifest', `it has more than ${largestManifestBytes} bytes`);
  const document = parseJson(bytes, 'manifest');
  if (document['schemaVersion'] !== 2) {
    throw corrupt('manifest', `schemaVersion ${JSON.stringify(document['schemaVersion'])} is not supported, only 2 is`);
  }
  const own = optional(document, 'mediaType', isString, 'manifest');
  const sent = bareType(mediaType);
  // Static file servers say application/json or the like, which says nothing.
  const type = own ?? (isKnown(sent) ? sent : undefined);
  const isIndex = 'manifests' in document;
  // One document that is both would be an image to one reader and an index to another (CVE-2021-41190).
  if (isIndex && ('layers' in document || 'config' in document)) {
    throw corrupt('manifest', 'it has both "manifests" and "layers" or "config"');
  }
  if (own !== undefined && isKnown(sent) && own !== sent) {
    throw corrupt('manifest', `its mediaType is "${own}", but it was sent as "${sent}"`);
  }
  if (isIndex) {
    if (type !== undefined && type !== mediaTypes.ociIndex && type !== mediaTypes.dockerList) {
      throw corrupt('manifest', `mediaType "${type}" is not an image index`);
    }
    return { kind: 'index', manifests: descriptors(document, 'manifests', most.indexEntries) };
  }
  if (type !== undefined && type !== mediaTypes.ociManifest && type !== mediaTypes.dockerManifest) {
    throw corrupt('manifest', `mediaType "${type}" is not an image manifest`);
  }
  const config = descriptor(document['config'], 'config');
  if (config.mediaType !== mediaTypes.ociConfig && config.mediaType !== mediaTypes.dockerConfig) {
    throw corrupt(
      'manifest',
      `its config is a "${config.mediaType}": this is an artifact, not an image that can be run`,
    );
  }
  const layers = descriptors(document, 'layers', most.layers);
  const encrypted = layers.find((layer) => layer.mediaType.endsWith('+encrypted'));
  if (encrypted) throw corrupt('manifest', `layer ${encrypted.digest} is encrypted, which is not supported`);
  return { kind: 'image', config, layers };
}

/** What a manifest that has been parsed calls itself; OCI documents need not say. */
export function mediaTypeOf(bytes: Uint8Array): string {
  const document = parseJson(bytes, 'manifest');
  if (isString(document['mediaType'])) return document['mediaType'];
  return 'manifests' in document ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

/**
 * Parses and checks an image config (image-spec config.md); Docker's `null` lists are left out.
 * Throws EbbError ImageCorrupt naming the field.
 */
export function parseConfig(bytes: Uint8Array, layerCount: number): ImageConfig {
  const document = parseJson(bytes, 'config');
  const rootfs = object(document['rootfs'], 'config', 'rootfs');
  if (rootfs['type'] !== 'layers') throw corrupt('config', 'rootfs.type must be "layers"');
  const diffIds = list(rootfs['diff_ids'] ?? [], 'rootfs.diff_ids', most.layers).map((id): Digest => {
    if (!isDigest(id)) throw corrupt('config', 'rootfs.diff_ids must be sha256 digests');
    return id;
  });
  if (diffIds.length !== layerCount) {
    throw corrupt('config', `it has ${diffIds.length} rootfs.diff_ids for ${layerCount} layers`);
  }
  const created = optional(document, 'created', isString, 'config');
  return {
    architecture: required(document, 'architecture'),
    os: required(document, 'os'),
    ...(document['config'] == null ? {} : { config: runConfig(object(document['config'], 'config', 'config')) }),
    rootfs: { type: 'layers', diff_ids: diffIds },
    ...(created === undefined ? {} : { created }),
    ...(Array.isArray(document['history']) ? { history: document['history'] } : {}),
  };
}

/**
 * The entry of an index that this machine runs, or undefined. Entries that say nothing about their platform count only
 * when there is no better one; their config tells later.
 */
export function choosePlatform(manifests: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  const fitting = manifests.filter((m) => m.platform && isImage(m) && fits(m.platform, wanted));
  // Without a variant is the widest choice on amd64 (v1) and arm64 (v8); 32-bit arm takes the highest, at most v7.
  fitting.sort((a, b) => variantRank(b.platform, wanted) - variantRank(a.platform, wanted));
  return fitting[0] ?? manifests.find((m) => !m.platform && isImage(m));
}

/** `linux/amd64, linux/arm64/v8`: what an index has, for messages. */
export function describePlatforms(manifests: readonly Descriptor[]): string {
  const names = manifests.flatMap((m) => (m.platform && isImage(m) ? [describePlatform(m.platform)] : []));
  return [...new Set(names)].slice(0, 30).join(', ') || 'none';
}

export function describePlatform(platform: Platform): string {
  return [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join('/');
}

/** This machine in the names that images use (Go's GOOS and GOARCH). */
export function machinePlatform(): Platform {
  const architectures: Record<string, string> = {
    x64: 'amd64',
    arm64: 'arm64',
    arm: 'arm',
    ia32: '386',
    ppc64: 'ppc64le',
  };
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch };
}

function fits(platform: Platform, wanted: Platform): boolean {
  return (
    platform.os === wanted.os && platform.architecture === wanted.architecture && variantRank(platform, wanted) >= 0
  );
}

function variantRank(platform: Platform | undefined, wanted: Platform): number {
  const level = Number(/^v(\d{1,2})$/.exec(platform?.variant ?? '')?.[1] ?? 0);
  if (wanted.architecture === 'arm') {
    const own = Number(/^v(\d{1,2})$/.exec(wanted.variant ?? 'v7')?.[1] ?? 7);
    return level > own ? -1 : level;
  }
  const base = wanted.architecture === 'arm64' ? 8 : 1;
  return level <= base ? 100 : 100 - level;
}

/** BuildKit puts attestations beside images, as platform unknown/unknown. */
function isImage(manifest: Descriptor): boolean {
  return manifest.annotations?.['vnd.docker.reference.type'] === undefined && manifest.platform?.os !== 'unknown';
}

function descriptors(document: Record<string, unknown>, field: string, limit: number): Descriptor[] {
  return list(document[field], field, limit).map((value, i) => descriptor(value, `${field}[${i}]`));
}

function descriptor(value: unknown, where: string): Descriptor {
  const fields = object(value, 'manifest', where);
  const { mediaType, digest, size, annotations, platform } = fields;
  if (!isString(mediaType) || mediaType.length === 0) throw corrupt('manifest', `${where}.mediaType is missing`);
  if (!isDigest(digest)) throw corrupt('manifest', `${where}.digest is not a sha256 digest`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw corrupt('manifest', `${where}.size is not a number of bytes`);
  }
  return {
    mediaType,
    digest,
    size,
    ...(annotations == null ? {} : { annotations: stringMap(annotations, 'manifest', `${where}.annotations`) }),
    ...(platform == null ? {} : { platform: platformOf(object(platform, 'manifest', `${where}.platform`), where) }),
  };
}

function platformOf(fields: Record<string, unknown>, where: string): Platform {
  const { os, architecture, variant } = fields;
  if (!isString(os) || !isString(architecture))
    throw corrupt('manifest', `${where}.platform has no os and architecture`);
  return { os, architecture, ...(isString(variant) && variant !== '' ? { variant } : {}) };
}

function runConfig(fields: Record<string, unknown>): NonNullable<ImageConfig['config']> {
  const config: NonNullable<ImageConfig['config']> = {};
  for (const name of ['User', 'WorkingDir', 'StopSignal'] as const) {
    const value = optional(fields, name, isString, 'config.config');
    if (value !== undefined && value !== '') config[name] = noNul(value, name);
  }
  for (const name of ['Env', 'Entrypoint', 'Cmd'] as const) {
    if (fields[name] == null) continue;
    config[name] = list(fields[name], `config.${name}`, most.listItems).map((item) => {
      if (!isString(item)) throw corrupt('config', `config.${name} must be a list of strings`);
      return noNul(item, name);
    });
  }
  if (fields['Labels'] != null) config.Labels = stringMap(fields['Labels'], 'config', 'config.Labels');
  for (const name of ['ExposedPorts', 'Volumes'] as const) {
    if (fields[name] != null) config[name] = object(fields[name], 'config', `config.${name}`);
  }
  return config;
}

/** These become arguments and environment of a process, which end at the first NUL. */
function noNul(value: string, name: string): string {
  if (value.includes('\0')) throw corrupt('config', `config.${name} contains a NUL character`);
  if (value.length > most.stringLength)
    throw corrupt('config', `config.${name} is longer than ${most.stringLength} characters`);
  return value;
}

function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw corrupt(what, 'it is not JSON', cause);
  }
  return object(value, what, 'the document');
}

function object(value: unknown, what: string, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw corrupt(what, `${field} must be an object`);
  return value as Record<string, unknown>;
}

function list(value: unknown, field: string, limit: number): unknown[] {
  if (!Array.isArray(value)) throw corrupt('manifest', `${field} must be a list`);
  if (value.length > limit)
    throw corrupt('manifest', `${field} has ${value.length} entries; at most ${limit} are allowed`);
  return value;
}

function stringMap(value: unknown, what: string, field: string): Record<string, string> {
  const fields = Object.entries(object(value, what, field));
  if (fields.length > most.listItems) throw corrupt(what, `${field} has more than ${most.listItems} entries`);
  for (const [, text] of fields) if (!isString(text)) throw corrupt(what, `${field} must map names to strings`);
  return Object.fromEntries(fields) as Record<string, string>;
}

function optional<T>(
  fields: Record<string, unknown>,
  name: string,
  is: (value: unknown) => value is T,
  what: string,
): T | undefined {
  const value = fields[name];
  if (value == null) return undefined;
  if (!is(value)) throw corrupt(what, `${name} has the wrong type`);
  return value;
}

function required(fields: Record<string, unknown>, name: string): string {
  const value = optional(fields, name, isString, 'config');
  if (value === undefined || value === '') throw corrupt('config', `${name} is missing`);
  return value;
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function bareType(mediaType: string | undefined): string | undefined {
  return mediaType?.split(';')[0]?.trim().toLowerCase() || undefined;
}

function isKnown(mediaType: string | undefined): boolean {
  return mediaType !== undefined && acceptedManifests.split(', ').includes(mediaType);
}

function corrupt(what: string, why: string, cause?: unknown): EbbError {
  return new EbbError('ImageCorrupt', 422, `image ${what} is not valid: ${why}`, cause === undefined ? {} : { cause });
}
