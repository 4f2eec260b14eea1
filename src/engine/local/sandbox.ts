import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { LocalImage } from '../../images/images.ts';
import { EbbError } from '../../platform/errors.ts';
import type { Spawner } from '../../platform/spawn.ts';
import type { Container } from '../../resources/index.ts';
import type { Cgroups } from './cgroup.ts';
import type { Limits } from './limits.ts';
import { floodBytes } from './log-files.ts';
import { hiddenUnified, type MountNamespace } from './namespace.ts';
import type { NetSlot, Network } from './network.ts';
import { identify, type ProcessRef } from './pid.ts';
import { startByFifo } from './start-fifo.ts';
import type { ProcessPlan } from './process.ts';
import type { Runtime } from './runtime.ts';
import { makeSpec } from './spec.ts';
import { makeVolumes, type VolumePlan } from './volumes.ts';

/** The folders that all sandboxes of one engine share. */
export interface SandboxRoots {
  /** A folder for each sandbox. */
  sandboxes: string;
  /** conmon leaves an exit code here, in a file named after the sandbox. */
  exits: string;
  /** The OCI runtime's own state. */
  oci: string;
  /** Empty folder that conmon insists on. */
  sockets: string;
  /** Writable layers kept on disk. */
  writable: string;
}

export interface SandboxPlan {
  id: string;
  image: LocalImage;
  process: ProcessPlan;
  container: Container;
  volumes: readonly VolumePlan[];
  limits: Limits;
  writable: { kind: 'memory' } | { kind: 'disk'; bytes: number };
  slot: NetSlot;
  logPath: string;
}

export interface CreatedSandbox {
  process: ProcessRef;
  conmon: ProcessRef | undefined;
}

export interface SandboxOptions {
  roots: SandboxRoots;
  namespace: MountNamespace;
  spawner: Spawner;
  network: Network;
  cgroups: Cgroups;
  runtime: Runtime;
  conmon: string;
  swapAccounting: boolean;
  /** Hard limit of open files that this process may give on. */
  openFiles: number;
  dnsServers: readonly string[];
}

/** Makes, starts and takes apart sandboxes: everything of an instance that the kernel or the disk holds. */
export class Sandboxes {
  readonly #o: SandboxOptions;

  constructor(options: SandboxOptions) {
    this.#o = options;
  }

  dirOf(id: string): string {
    return join(this.#o.roots.sandboxes, id);
  }

  /** The fifo on which conmon takes orders. */
  controlOf(id: string): string {
    return join(this.dirOf(id), 'ctl');
  }

  /**
   * Root filesystem, supervisor and container, as far as the app's first instruction: `start` does the rest. The
   * sandbox's folder must be there. Throws EbbError SandboxFailed with the runtime's words.
   */
  async create(plan: SandboxPlan): Promise<CreatedSandbox> {
    const { roots, runtime, namespace, cgroups } = this.#o;
    const dir = this.dirOf(plan.id);
    const lower = await this.#writeFiles(plan, dir);
    if (plan.volumes.length > 0) await makeVolumes(plan, dir, this.#diskOf(plan.id), namespace);
    const diskBytes = plan.writable.kind === 'disk' ? plan.writable.bytes : undefined;
    const { memoryBytes } = plan.limits;
    const answer = await namespace.script(
      `creating sandbox ${plan.id}`,
      createScript,
      [
        dir,
        lower,
        plan.writable.kind,
        // As the kernel does for memory as a whole: half, so that a full disk is ENOSPC and not an out-of-memory kill.
        String(diskBytes ?? Math.floor(memoryBytes / 2)),
        diskBytes !== undefined ? this.#diskOf(plan.id) : String(Math.max(1024, Math.floor(memoryBytes / 4096))),
        plan.process.makeTmp ? 'yes' : 'no',
        plan.process.makeCwd ? plan.process.cwd : '',
        ...cgroups.supervisorDirs(),
        '--',
        this.#o.conmon,
        ...['--api-version', '1', '--cid', plan.id, '--cuuid', plan.id, '--name', plan.id],
        ...['--runtime', runtime.path, '--runtime-arg', `--root=${roots.oci}`],
        ...['--bundle', dir, '--full-attach', '--socket-dir-path', roots.sockets],
        ...['--container-pidfile', join(dir, 'pid'), '--conmon-pidfile', join(dir, 'conmon.pid')],
        ...['--exit-dir', roots.exits, '--log-path', `k8s-file:${plan.logPath}`],
        ...['--log-size-max', String(floodBytes), '--log-level', 'error', '--no-sync-log'],
      ],
      { timeoutMs: 30_000 },
    );
    const { pid, message } = parseAnswer(answer);
    const process = pid === undefined ? undefined : identify(pid);
    if (!process)
      throw new EbbError('SandboxFailed', 500, `cannot create a container: ${message ?? 'conmon gave no answer'}`);
    return { process, conmon: await this.conmonOf(plan.id) };
  }

  /** Lets a created container's process go. Spawns in the same tick; throws EbbError SandboxFailed. */
  async start(id: string): Promise<void> {
    const { namespace, spawner, runtime, roots } = this.#o;
    if (runtime.name === 'crun' && startByFifo(roots.oci, id)) return;
    // crun and runc only open a fifo in their state folder, which is the same outside: one exec less, 1.3 ms of 10.
    const inside = runtime.name !== 'crun' && runtime.name !== 'runc';
    const { code, stderr } = await (inside ? namespace : spawner).run(runtime.path, ['--root', roots.oci, 'start', id]);
    if (code !== 0)
      throw new EbbError('SandboxFailed', 500, `cannot start the container: ${stderr.trim() || `exit ${code}`}`);
  }

  /** Runs a command inside; true when it exited with 0 in time. */
  async exec(id: string, command: readonly string[], timeoutMs: number): Promise<boolean> {
    const { namespace, runtime, roots } = this.#o;
    const args = ['--root', roots.oci, 'exec', id, ...command];
    return (await namespace.run(runtime.path, args, { stdio: 'ignore', timeoutMs })).code === 0;
  }

  /** Kills what still runs and removes every trace but the log. Does what it can; safe to repeat. */
  async destroy(id: string, net: number | undefined): Promise<void> {
    const { namespace, runtime, roots, network, cgroups } = this.#o;
    await namespace.run('sh', [
      '-c',
      destroyScript,
      'sh',
      this.dirOf(id),
      net === undefined ? '' : `n${net}`,
      net === undefined ? '' : network.vethOf(net),
      this.#diskOf(id),
      join(roots.exits, id),
      cgroups.layout === 'hybrid' ? hiddenUnified(cgroups.pathOf(id)) : '',
      ...[runtime.path, '--root', roots.oci, 'delete', '--force', id],
    ]);
    await cgroups.remove(id);
    await rm(join(roots.oci, id), { recursive: true, force: true });
    if (net !== undefined) network.forget(network.slotOf(net));
  }

  /** The status that the runtime knows of each id, and its process. */
  async states(ids: readonly string[]): Promise<Map<string, { status: string; process: ProcessRef | undefined }>> {
    const { namespace, runtime, roots } = this.#o;
    const states = new Map<string, { status: string; process: ProcessRef | undefined }>();
    for (const id of ids) {
      const { code, stdout } = await namespace.run(runtime.path, ['--root', roots.oci, 'state', id]);
      if (code !== 0) continue;
      const state = JSON.parse(stdout) as { status?: string; pid?: number };
      states.set(id, { status: state.status ?? '', process: state.pid ? identify(state.pid) : undefined });
    }
    return states;
  }

  async conmonOf(id: string): Promise<ProcessRef | undefined> {
    const text = await readFile(join(this.dirOf(id), 'conmon.pid'), 'utf8').catch(() => ''); // died before it wrote it
    const pid = Number(text.trim());
    return pid > 1 ? identify(pid) : undefined;
  }

  #diskOf(id: string): string {
    return join(this.#o.roots.writable, `${id}.ext4`);
  }

  /** Writes what the container reads; returns overlayfs' lowerdir, by short links to stay within one page of options. */
  async #writeFiles(plan: SandboxPlan, dir: string): Promise<string> {
    const { roots, cgroups, swapAccounting, openFiles, dnsServers } = this.#o;
    const { id, slot, image } = plan;
    await Promise.all([
      mkdir(join(dir, 'etc'), { recursive: true }),
      mkdir(join(dir, 'l'), { recursive: true }),
      ...(plan.writable.kind === 'disk' ? [mkdir(roots.writable, { recursive: true, mode: 0o700 })] : []),
    ]);
    const spec = makeSpec({
      cgroupsPath: cgroups.pathOf(id),
      hostname: id,
      netns: slot.netns,
      dir,
      process: plan.process,
      container: plan.container,
      volumes: plan.volumes,
      limits: plan.limits,
      arch: process.arch,
      swapAccounting,
      openFiles,
    });
    const top = image.layerDirs.toReversed();
    await Promise.all([
      // Its environment may hold secrets.
      writeFile(join(dir, 'config.json'), JSON.stringify(spec), { mode: 0o600 }),
      writeFile(join(dir, 'etc', 'hosts'), `127.0.0.1\tlocalhost\n::1\tlocalhost\n${slot.host}\t${id}\n`),
      writeFile(join(dir, 'etc', 'hostname'), `${id}\n`),
      writeFile(join(dir, 'etc', 'resolv.conf'), dnsServers.map((server) => `nameserver ${server}\n`).join('')),
      ...top.map((layer, i) => symlink(layer, join(dir, 'l', String(i)))),
    ]);
    // An image without a single layer is an empty folder.
    if (top.length === 0) await mkdir(join(dir, 'l', '0'));
    return (top.length ? top : ['']).map((_, i) => `l/${i}`).join(':');
  }
}

/** conmon's line on its sync pipe: `{"data": PID}` or `{"data": -1, "message": "..."}`. */
function parseAnswer(answer: string): { pid?: number; message?: string } {
  try {
    const { data, message } = JSON.parse(answer) as { data?: number; message?: string };
    return typeof data === 'number' && data > 1 ? { pid: data } : { message: runtimeWords(message ?? '') };
  } catch {
    return answer.trim() ? { message: answer.trim().slice(0, 500) } : {};
  }
}

/** Runtimes log in several dresses; what they have to say is in the last line. */
function runtimeWords(message: string): string {
  const last = message.trim().split('\n').at(-1) ?? '';
  const text = /msg="((?:[^"\\]|\\.)*)"/.exec(last)?.[1]?.replaceAll('\\"', '"') ?? last;
  return text.replace(/^\S+Z?: /, '').slice(0, 500) || 'the runtime failed without a word';
}

/** The number of a signal by name (`SIGTERM`, `TERM`) or number; SIGTERM when it is neither. */
export function signalNumber(name: string): number {
  const byName = (constants.signals as Record<string, number>)[name.startsWith('SIG') ? name : `SIG${name}`];
  const number = byName ?? Number(name);
  return Number.isInteger(number) && number > 0 && number < 65 ? number : constants.signals.SIGTERM;
}

// The shell, and conmon after it, moves to the supervisors' control groups first: whoever kills the control process
// with its whole group must not kill the instances' supervisors.
// conmon says on the fifo how `create` went. Only conmon holds its writing end then, so that its death ends the read.
const createScript = `
set -e
cd "$1"; lower=$2 kind=$3 bytes=$4 extra=$5 tmp=$6 cwd=$7; shift 7
while [ "$1" != -- ]; do mkdir -p "$1"; echo $$ > "$1/cgroup.procs"; shift; done; shift
mkdir w rootfs
if [ "$kind" = disk ]; then
  truncate -s "$bytes" "$extra"
  mkfs.ext4 -q -F -m 0 -O ^has_journal -E lazy_itable_init=1,nodiscard "$extra"
  mount -t ext4 -o loop,nodev "$extra" w
else
  mount -t tmpfs -o "size=$bytes,nr_inodes=$extra,mode=700" ebb w
fi
mkdir w/u w/w
if [ "$tmp" = yes ]; then mkdir w/u/tmp; chmod 1777 w/u/tmp; fi
if [ -n "$cwd" ]; then mkdir -p "w/u$cwd"; fi
mount -t overlay -o "lowerdir=$lower,upperdir=w/u,workdir=w/w" overlay rootfs
mkfifo sync
exec 4<>sync
_OCI_SYNCPIPE=3 "$@" </dev/null >/dev/null 2>conmon.err 3>&4 4>&-
exec 5<sync 4>&-
read -r answer <&5 || answer=$(tail -c 500 conmon.err)
rm -f sync
printf '%s\\n' "$answer"`;

const destroyScript = `
dir=$1 netns=$2 veth=$3 disk=$4 exit=$5 shadow=$6; shift 6
"$@" >/dev/null 2>&1
if [ -f "$dir/conmon.pid" ] && [ "$(cat "/proc/$(cat "$dir/conmon.pid")/comm" 2>/dev/null)" = conmon ]; then
  kill -9 "$(cat "$dir/conmon.pid")"
fi
umount "$dir/rootfs" 2>/dev/null || umount -l "$dir/rootfs" 2>/dev/null
[ ! -d "$dir/v" ] || umount -l -R "$dir/v" 2>/dev/null
umount "$dir/w" 2>/dev/null || umount -l "$dir/w" 2>/dev/null
if [ -n "$netns" ]; then
  ip link del "$veth" 2>/dev/null
  umount -l "/run/netns/$netns" 2>/dev/null
  rm -f "/run/netns/$netns"
fi
rm -rf --one-file-system "$dir"
[ -z "$shadow" ] || rm -rf "$shadow"
rm -f "$disk" "$disk".* "$exit"
true`;
