import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf } from './digest.ts';
import type { Descriptor, Digest, ImageConfig } from './images.ts';
import { mediaTypes } from './manifest.ts';

/** A registry on loopback that misbehaves on request: for tests. */
export interface FakeRegistry extends AsyncDisposable {
  /** `127.0.0.1:port`. */
  host: string;
  /** Every request so far: `GET /v2/...`. */
  requests: string[];
  /** The `Authorization` of every request, beside `requests`. */
  authorizations: (string | undefined)[];
  blobs: Map<Digest, Buffer>;
  /** By `repository:tag` and `repository@digest`. */
  manifests: Map<string, { bytes: Buffer; mediaType: string }>;
  /** Answers instead of the registry when it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Adds an image of these layers, given as compressed bytes and diffID, and tags it. */
  push(name: string, layers: readonly { bytes: Buffer; diffId: Digest }[], config?: Partial<ImageConfig>): Descriptor;
}

export async function startFakeRegistry(): Promise<FakeRegistry> {
  const server = createServer((request, response) => {
    fake.requests.push(`${request.method} ${request.url}`);
    fake.authorizations.push(request.headers.authorization);
    if (!fake.intercept(request, response)) answer(fake, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    authorizations: [],
    blobs: new Map(),
    manifests: new Map(),
    intercept: () => false,
    push(name, layers, config = {}) {
      const add = (bytes: Buffer, mediaType: string): Descriptor => {
        const digest = digestOf(bytes);
        fake.blobs.set(digest, bytes);
        return { mediaType, digest, size: bytes.length };
      };
      const rootfs = { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) };
      const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
      const image = { architecture, os: 'linux', config: { Cmd: ['/hello'] }, rootfs, ...config };
      const manifest = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: add(Buffer.from(JSON.stringify(image)), mediaTypes.ociConfig),
        layers: layers.map((layer) => add(layer.bytes, mediaTypes.ociLayerGzip)),
      };
      const bytes = Buffer.from(JSON.stringify(manifest));
      const digest = digestOf(bytes);
      const entry = { bytes, mediaType: mediaTypes.ociManifest };
      fake.manifests.set(name, entry);
      fake.manifests.set(`${name.slice(0, name.lastIndexOf(':'))}@${digest}`, entry);
      return { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return fake;
}

function answer(fake: FakeRegistry, request: IncomingMessage, response: ServerResponse): void {
  const [, repository = '', kind = '', what = ''] =
    /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(request.url ?? '') ?? [];
  const fail = (status: number, code: string) =>
    response.writeHead(status).end(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] }));
  if (kind === 'manifests') {
    const found = fake.manifests.get(what.includes(':') ? `${repository}@${what}` : `${repository}:${what}`);
    if (!found) return void fail(404, 'MANIFEST_UNKNOWN');
    response.writeHead(200, { 'content-type': found.mediaType }).end(found.bytes);
  } else if (kind === 'blobs') {
    const blob = fake.blobs.get(what as Digest);
    if (!blob) return void fail(404, 'BLOB_UNKNOWN');
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const range = from > 0 ? { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` } : {};
    response
      .writeHead(from > 0 ? 206 : 200, { 'content-length': blob.length - from, ...range })
      .end(blob.subarray(from));
  } else {
    const tags = [...fake.manifests.keys()].flatMap((name) =>
      name.startsWith(`${repository}:`) ? [name.slice(repository.length + 1)] : [],
    );
    if (tags.length === 0) return void fail(404, 'NAME_UNKNOWN');
    response.writeHead(200).end(JSON.stringify({ name: repository, tags }));
  }
}
