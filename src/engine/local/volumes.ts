import { posix } from 'node:path';
import { pack } from 'tar-stream';
import type { Container, Volume, VolumeMount } from '../../resources/index.ts';
import type { VolumeFile, Workload } from '../engine.ts';
import type { MountNamespace } from './namespace.ts';
import { containerOf, type ProcessPlan } from './process.ts';
import { quantityOf } from './quantity.ts';
import type { Settings } from './settings.ts';

/** A volume of one sandbox; it is the folder `v/<its place in the list>` there. */
export type VolumePlan = { name: string; /** Folders, or files, that must be in it. */ parts: readonly string[] } & (
  { kind: 'files'; files: readonly VolumeFile[] } | { kind: 'memory' | 'disk'; bytes: number }
);

/** The smallest file system that can be made on disk, and more than the bookkeeping of one in memory. */
const leastDiskBytes = 4 * 2 ** 20;
const pageBytes = 4096;

/** What volumes the sandboxes of a workload have. An emptyDir is in memory wherever the writable layer is, too. */
export function planVolumes(
  workload: Workload,
  settings: Pick<Settings, 'limits' | 'writable'>,
  files: ReadonlyMap<string, readonly VolumeFile[]> = new Map(),
): VolumePlan[] {
  const mounts = containerOf(workload).volumeMounts ?? [];
  return (workload.spec.volumes ?? []).map((volume) => {
    const name = volume.name ?? '';
    return { name, parts: partsOf(name, mounts), ...contentOf(volume, settings, files.get(name) ?? []) };
  });
}

/**
 * What is mounted on its own, and where other volumes are mounted inside this one: nobody could make a folder for them in
 * what is read-only (as Kubernetes' MakeNestedMountpoints).
 */
function partsOf(volume: string, mounts: readonly VolumeMount[]): string[] {
  return mounts.flatMap((mount) => {
    if (mount.name !== volume) return [];
    const own = mount.subPath ? [posix.normalize(mount.subPath)] : [];
    const top = pathOf(mount);
    const inner = mounts.filter((other) => !other.subPath && pathOf(other).startsWith(`${top}/`));
    return [...own, ...inner.map((other) => posix.join(...own, pathOf(other).slice(top.length + 1)))];
  });
}

const pathOf = ({ mountPath = '/' }: VolumeMount) => posix.resolve('/', mountPath);

function contentOf(
  { emptyDir, name }: Volume,
  { limits, writable }: Pick<Settings, 'limits' | 'writable'>,
  files: readonly VolumeFile[],
): { kind: 'files'; files: readonly VolumeFile[] } | { kind: 'memory' | 'disk'; bytes: number } {
  if (!emptyDir) return { kind: 'files', files };
  const { medium, sizeLimit } = emptyDir;
  // Kubernetes takes 0 for no limit.
  const limit =
    sizeLimit === undefined ? 0 : Math.ceil(quantityOf(String(sizeLimit), `the sizeLimit of volume ${name ?? ''}`));
  if (medium !== 'Memory' && writable.kind === 'disk')
    return { kind: 'disk', bytes: Math.max(leastDiskBytes, limit || writable.bytes) };
  // As for the writable layer: half of the memory, so that a full folder is ENOSPC and not an out-of-memory kill.
  return { kind: 'memory', bytes: Math.min(limit || Math.floor(limits.memoryBytes / 2), limits.memoryBytes) };
}

/**
 * Makes the volumes of a sandbox in its folder, files in memory only: they come by a pipe into the engine's mount
 * namespace and the host's own tree never sees them. Nothing of the app has run before, so that no symbolic link can lead
 * a `subPath` elsewhere.
 */
export async function makeVolumes(
  plan: { id: string; volumes: readonly VolumePlan[]; process: Pick<ProcessPlan, 'user'> },
  dir: string,
  disk: string,
  namespace: MountNamespace,
): Promise<void> {
  const { volumes } = plan;
  const empty = volumes.flatMap((v, i) => (v.kind === 'files' ? [] : [String(i), v.kind, String(v.bytes)]));
  const parts = volumes.flatMap((v, i) => v.parts.map((path) => `${i}/${path}`));
  await namespace.script(
    `making the volumes of ${plan.id}`,
    script,
    [dir, String(sizeOf(volumes)), disk, ...empty, '--', ...parts],
    { input: await tarOf(volumes, plan.process.user), timeoutMs: 30_000 },
  );
}

/** Bytes of memory that the files of all volumes take. */
function sizeOf(volumes: readonly VolumePlan[]): number {
  const files = volumes.flatMap((v) => (v.kind === 'files' ? v.files : []));
  return files.reduce((sum, f) => sum + Math.ceil(f.content.length / pageBytes) * pageBytes, 2 ** 20);
}

/** The files belong to the container's user, so that a mode of 0400 lets it read them, and nobody else. */
async function tarOf(volumes: readonly VolumePlan[], { uid, gid }: ProcessPlan['user']): Promise<Buffer> {
  const tar = pack();
  for (const [i, volume] of volumes.entries()) {
    if (volume.kind !== 'files') continue;
    tar.entry({ name: `${i}/`, type: 'directory', mode: 0o755 });
    const folders = new Set<string>();
    for (const { path, mode, content } of volume.files) {
      const missing: string[] = [];
      for (let at = posix.dirname(path); at !== '.' && !folders.has(at); at = posix.dirname(at)) missing.unshift(at);
      for (const folder of missing) {
        folders.add(folder);
        tar.entry({ name: `${i}/${folder}/`, type: 'directory', mode: 0o755 });
      }
      tar.entry({ name: `${i}/${path}`, mode, uid, gid }, content);
    }
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** The mounts (runtime-spec config.md) of a container's volumes, outer folders first. */
export function mountsOf(container: Container, volumes: readonly VolumePlan[], dir: string): object[] {
  return (container.volumeMounts ?? [])
    .map((mount) => {
      const { name, subPath, readOnly } = mount;
      const at = volumes.findIndex((v) => v.name === name);
      const folder = `${dir}/v/${at}`;
      return {
        destination: pathOf(mount),
        type: 'bind',
        source: subPath ? `${folder}/${posix.normalize(subPath)}` : folder,
        options: ['bind', readOnly ? 'ro' : 'rw', 'nosuid', 'nodev', 'private'],
      };
    })
    .sort((a, b) => depthOf(a.destination) - depthOf(b.destination));
}

const depthOf = (path: string) => path.split('/').filter((part) => part !== '').length;

// Files come as a tar archive on standard input.
const script = `
set -e
umask 0
cd "$1"; size=$2 disk=$3; shift 3
mkdir -m 700 v
mount -t tmpfs -o "size=$size,mode=700,nosuid,nodev" ebb v
tar -x -p --same-owner --numeric-owner -f - -C v
while [ "$1" != -- ]; do
  mkdir "v/$1"
  if [ "$2" = disk ]; then
    truncate -s "$3" "$disk.$1"
    mkfs.ext4 -q -F -m 0 -O ^has_journal -E lazy_itable_init=1,nodiscard "$disk.$1"
    mount -t ext4 -o loop,nosuid,nodev "$disk.$1" "v/$1"
    rmdir "v/$1/lost+found"
    chmod 777 "v/$1"
  else
    mount -t tmpfs -o "size=$3,mode=777,nosuid,nodev" ebb "v/$1"
  fi
  shift 3
done
shift
for part; do [ -e "v/$part" ] || mkdir -p "v/$part"; done`;
