import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContentStore, Descriptor, Digest } from '../images/images.ts';
import { EbbError } from '../platform/errors.ts';
import type { Spawner } from '../platform/spawn.ts';
import { findProgram } from './base-layers.ts';
import { scratchFolder } from './scratch.ts';

const buildTimeoutMs = 30 * 60_000;

/**
 * Builds `file` of the folder `root` with buildah, in a private store that is removed afterwards, and brings the result
 * into `content`. buildah reads .dockerignore itself. Returns its manifest. Throws EbbError BuildahMissing, DockerfileFailed.
 */
export async function buildDockerfile(options: {
  root: string;
  file: string;
  content: ContentStore;
  scratch: string;
  env: Record<string, string>;
  spawner: Spawner;
  signal?: AbortSignal;
}): Promise<Descriptor> {
  const { root, file, env, spawner, signal } = options;
  const buildah = await findProgram('buildah', `${env['PATH'] ?? ''}:/usr/bin`);
  if (!buildah) {
    throw new EbbError(
      'BuildahMissing',
      422,
      `the folder has a ${file}, which buildah builds, and buildah is not on this machine: install it (apt install buildah), or build the image elsewhere and deploy it with --image`,
    );
  }
  await using scratch = await scratchFolder(options.scratch, 'buildah');
  const folder = scratch.path;
  const policy = join(folder, 'policy.json');
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  const global = [
    ...['--root', join(folder, 'root'), '--runroot', join(folder, 'run')],
    ...['--storage-driver', 'vfs'],
  ];
  const run = async (args: string[]): Promise<void> => {
    const result = await spawner.run(buildah, [...global, ...args], {
      cwd: folder,
      env: { ...env, BUILDAH_ISOLATION: 'chroot', TMPDIR: folder },
      timeoutMs: buildTimeoutMs,
      ...(signal ? { signal } : {}),
    });
    signal?.throwIfAborted();
    if (result.code === 0) return;
    const words = (result.stderr || result.stdout).trim().split('\n').slice(-6).join('; ');
    throw new EbbError('DockerfileFailed', 422, `buildah could not build the ${file}: ${words.slice(-1500)}`);
  };
  const layout = join(folder, 'image');
  await run([
    ...['bud', '--isolation', 'chroot', '--format', 'oci', '--timestamp', '0', '--signature-policy', policy],
    ...['--file', join(root, file), '--tag', 'localhost/built', root],
  ]);
  await run(['push', '--signature-policy', policy, 'localhost/built', `oci:${layout}:built`]);
  return await importLayout(layout, options.content);
}

/** Copies the one image of the OCI layout `folder` (image-spec, image-layout.md) into the content store. */
async function importLayout(folder: string, content: ContentStore): Promise<Descriptor> {
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  const manifest = index.manifests[0];
  if (!manifest) throw new EbbError('DockerfileFailed', 500, 'buildah wrote no image');
  const pathOf = (digest: Digest) => join(folder, 'blobs', ...digest.split(':'));
  const parts = JSON.parse(await readFile(pathOf(manifest.digest), 'utf8')) as {
    config: Descriptor;
    layers: Descriptor[];
  };
  for (const { digest, size } of [...parts.layers, parts.config, manifest]) {
    if (!(await content.has(digest))) await content.put(createReadStream(pathOf(digest)), { digest, size });
  }
  return manifest;
}
