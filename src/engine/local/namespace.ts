import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EbbError } from '../../platform/errors.ts';
import type { SpawnOptions, SpawnResult, Spawner } from '../../platform/spawn.ts';

/**
 * The engine's own mount namespace: one for all instances, held by a bind-mounted file, so that it outlives the control
 * process. In it are the root filesystems and the network namespaces; the host sees neither. A v2 `unified` mount
 * beside v1 controllers is taken away in it, because crun 1.8 refuses that layout.
 *
 * One for all and not one each: every further namespace would copy, and pin, the mounts of all others.
 */
export interface MountNamespace {
  /** True when a former process made it. */
  readonly found: boolean;
  run(command: string, args: readonly string[], options?: SpawnOptions): Promise<SpawnResult>;
  /** Runs a shell script (`$1`... are `args`) inside; throws EbbError CommandFailed with its last words. */
  script(what: string, script: string, args: readonly string[], options?: SpawnOptions): Promise<string>;
  /** Lets go of the namespace: everything mounted only in it is gone with its last process. */
  destroy(): Promise<void>;
}

const holdDirectory = `
set -e
# unshare can bind a mount namespace only below a private mount (mount_namespaces(7)).
mount --bind "$1" "$1"
mount --make-private "$1"
: > "$1/mnt"
tries=0
until unshare --mount="$1/mnt" --propagation slave sh -ec '
  if grep -q " /sys/fs/cgroup/unified cgroup2 " /proc/self/mounts; then
    umount /sys/fs/cgroup/unified
    # crun takes the bare folder for one more v1 controller and makes folders in it. Here they end with the namespace.
    mount -t tmpfs -o size=16m,mode=755 ebb-unified /sys/fs/cgroup/unified
  fi
  mkdir -p /run/netns
  mount -t tmpfs -o size=4m,mode=755 ebb-netns /run/netns
'; do
  # A namespace may only be bound in one of a lower number, and since Linux 6.18 numbers are not handed out in order: inside
  # of another mount namespace (a container, a service with PrivateTmp) a new one may come out too low. The next may not.
  if grep -q " $1/mnt " /proc/self/mountinfo || [ "$tries" -ge 100 ]; then exit 1; fi
  tries=$((tries + 1))
done`;

/** Finds the namespace held below `dir`, or makes it. Needs root. */
export async function openMountNamespace(dir: string, spawner: Spawner): Promise<MountNamespace> {
  const held = join(dir, 'mnt');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const found = (await mountPoints()).includes(held);
  if (!found) {
    await release(dir, spawner);
    const made = await spawner.run('sh', ['-c', holdDirectory, 'sh', dir]);
    if (made.code !== 0) {
      await release(dir, spawner);
      throw new EbbError(
        'NoMountNamespace',
        500,
        `cannot make a mount namespace: ${made.stderr.trim().split('\n').at(-1)}`,
      );
    }
  }
  const run = (command: string, args: readonly string[], options?: SpawnOptions) =>
    spawner.run('nsenter', [`--mount=${held}`, '--', command, ...args], options);
  return {
    found,
    run,
    async script(what, script, args, options) {
      const result = await run('sh', ['-c', script, 'sh', ...args], options);
      if (result.code !== 0)
        throw new EbbError('CommandFailed', 500, `${what} failed: ${(result.stderr || result.stdout).trim()}`);
      return result.stdout;
    },
    destroy: () => release(dir, spawner),
  };
}

async function release(dir: string, spawner: Spawner): Promise<void> {
  const ours = (await mountPoints()).filter((path) => path === dir || path.startsWith(`${dir}/`));
  for (const path of ours.toReversed()) await spawner.run('umount', ['-l', path]);
  await rm(join(dir, 'mnt'), { force: true });
}

/** Mount points of this process, in the order of mounting. */
export async function mountPoints(): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n');
  // Fields 5: the mount point, with blanks written as \040 and the like (proc_pid_mountinfo(5)).
  return lines.flatMap((line) => {
    const point = line.split(' ')[4];
    return point === undefined
      ? []
      : [point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))];
  });
}

/** Makes forwarding between interfaces possible, which NAT needs; it stays on for the machine. */
export async function enableForwarding(): Promise<boolean> {
  const file = '/proc/sys/net/ipv4/ip_forward';
  if ((await readFile(file, 'utf8')).trim() === '1') return false;
  await writeFile(file, '1');
  return true;
}

/** Where crun, in the namespace, makes folders of a control group in what it takes for a controller named `unified`. */
export function hiddenUnified(cgroup: string): string {
  return `/sys/fs/cgroup/unified${cgroup}`;
}
