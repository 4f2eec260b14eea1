import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { pack, type Header } from 'tar-stream';

const nonroot = 65532;

/**
 * Writes an OCI image archive (image-spec image-layout.md) of one static program, as `ko` would build it on a
 * distroless base: nobody's user 65532, a world-writable /tmp, the program as entrypoint. No time goes in.
 */
export async function writeImageArchive(program: string, archive: string): Promise<void> {
  const entrypoint = `/ko-app/${basename(program)}`;
  const layer = await tarOf([
    [
      { name: 'etc/passwd' },
      `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${nonroot}:${nonroot}::/home/nonroot:/sbin/nologin\n`,
    ],
    [{ name: 'etc/group' }, `root:x:0:\nnonroot:x:${nonroot}:\n`],
    [{ name: 'home/nonroot', type: 'directory', mode: 0o700, uid: nonroot, gid: nonroot }, ''],
    [{ name: 'ko-app', type: 'directory', mode: 0o755 }, ''],
    [{ name: entrypoint.slice(1), mode: 0o755 }, await readFile(program)],
    [{ name: 'tmp', type: 'directory', mode: 0o1777 }, ''],
    [{ name: 'var/run', type: 'directory', mode: 0o755 }, ''],
  ]);
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: {
        User: String(nonroot),
        WorkingDir: '/home/nonroot',
        Entrypoint: [entrypoint],
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/ko-app'],
      },
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
    }),
  );
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: `sha256:${sha256(bytes)}`,
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
    }),
  );
  const index = { schemaVersion: 2, manifests: [describe('application/vnd.oci.image.manifest.v1+json', manifest)] };
  const tar = await tarOf([
    [{ name: 'oci-layout' }, '{"imageLayoutVersion":"1.0.0"}'],
    [{ name: 'index.json' }, JSON.stringify(index)],
    ...[config, layer, manifest].map((bytes): Entry => [{ name: `blobs/sha256/${sha256(bytes)}` }, bytes]),
  ]);
  await writeFile(archive, tar);
}

type Entry = [Partial<Header> & { name: string }, Buffer | string];

async function tarOf(entries: Entry[]): Promise<Buffer> {
  const stream = pack();
  for (const [header, content] of entries) stream.entry({ mode: 0o644, mtime: new Date(0), ...header }, content);
  stream.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
