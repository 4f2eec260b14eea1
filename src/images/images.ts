import type { Readable } from 'node:stream';

/** `sha256:<64 hex>`. */
export type Digest = `sha256:${string}`;

/** OCI image-spec descriptor. */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations?: Record<string, string>;
  platform?: { os: string; architecture: string; variant?: string };
}

/** OCI image config, the part Ebb acts on (image-spec config.md; Docker's has the same names). */
export interface ImageConfig {
  architecture: string;
  os: string;
  config?: {
    User?: string;
    Env?: string[];
    Entrypoint?: string[];
    Cmd?: string[];
    WorkingDir?: string;
    ExposedPorts?: Record<string, unknown>;
    Labels?: Record<string, string>;
    StopSignal?: string;
    Volumes?: Record<string, unknown>;
  };
  rootfs: { type: 'layers'; diff_ids: Digest[] };
  created?: string;
  history?: unknown[];
}

/** An image that is here in full: fetched, verified and unpacked. */
export interface LocalImage {
  /** As asked for. */
  reference: string;
  /** `repository@sha256:...` of the manifest for this platform. */
  resolved: string;
  manifest: Descriptor;
  config: ImageConfig;
  /** Unpacked layers in overlayfs format (whiteouts as 0:0 devices, trusted.overlay.opaque), lowest first. Read-only to the caller. */
  layerDirs: string[];
}

/**
 * Content-addressed blobs on disk. Writes are atomic (temporary file, fsync, rename) and verified; concurrent writes of
 * one digest are one write. Names (references) point to manifests; blobs no name or lease reaches are collected.
 */
export interface ContentStore {
  has(digest: Digest): Promise<boolean>;
  /** Stores a stream; verifies `expected` digest and size when given (EbbError DigestMismatch). Returns what was stored. */
  put(
    data: Readable | Uint8Array,
    expected?: { digest?: Digest; size?: number },
  ): Promise<{ digest: Digest; size: number }>;
  /** Whole small blob (manifests, configs; at most 8 MiB). Throws EbbError BlobNotFound. */
  read(digest: Digest): Promise<Buffer>;
  stream(digest: Digest): Promise<Readable>;
  /** Points a name at a manifest. Durable once resolved. */
  tag(name: string, manifest: Descriptor): Promise<void>;
  untag(name: string): Promise<void>;
  resolve(name: string): Promise<Descriptor | undefined>;
  names(): Promise<{ name: string; manifest: Descriptor }[]>;
}

export type ImageProgress = (event: { message: string; doneBytes?: number; totalBytes?: number }) => void;

export interface ImageStore extends AsyncDisposable {
  readonly content: ContentStore;
  /**
   * Makes `reference` be here in full and returns it. Local names (`ebb.local/...`) are looked up; others are pulled
   * from their registry unless a digest reference is already here. Concurrent calls share the work.
   * `policy`: 'Always' asks the registry for the tag's current digest even when the name is known; 'IfNotPresent' not;
   * 'Never' fails instead of fetching.
   * Throws EbbError: ImageNotFound, ImageWrongPlatform, ImageCorrupt, RegistryUnauthorized, RegistryUnreachable,
   * InvalidReference, UnsafeLayer.
   */
  ensure(
    reference: string,
    options?: { policy?: 'Always' | 'IfNotPresent' | 'Never'; signal?: AbortSignal; onProgress?: ImageProgress },
  ): Promise<LocalImage>;
  /** Imports a tar stream in OCI archive or `docker save` format; tags it `name`. */
  importArchive(
    archive: Readable,
    options: { format: 'oci-archive' | 'docker-archive'; tag?: string; name: string; signal?: AbortSignal },
  ): Promise<LocalImage>;
  /** Deletes blobs and unpacked layers that no name and none of `inUse` (resolved references) reaches. Returns bytes freed. */
  collect(inUse: readonly string[]): Promise<{ freedBytes: number }>;
}
