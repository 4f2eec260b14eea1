import type { Container } from '../../resources/index.ts';
import type { Limits } from './limits.ts';
import type { ProcessPlan } from './process.ts';
import { mountsOf, type VolumePlan } from './volumes.ts';
import { defaultSeccomp } from './seccomp.ts';

export interface SpecInput {
  /** Absolute; below the root of every controller's hierarchy. */
  cgroupsPath: string;
  hostname: string;
  /** Path of a prepared network namespace. */
  netns: string;
  /** Folder of the sandbox: holds `rootfs` and the generated files below `etc`. */
  dir: string;
  process: ProcessPlan;
  container: Container;
  volumes: readonly VolumePlan[];
  limits: Limits;
  arch: string;
  /** The kernel counts swap: then the limit on memory and swap together is the limit on memory. */
  swapAccounting: boolean;
  /** Hard limit of open files. */
  openFiles: number;
}

/** Podman's reduced form of the usual default: no raw sockets, no device nodes, no audit writes. */
const defaultCapabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

/** The OCI runtime configuration (runtime-spec config.md) of one instance. */
export function makeSpec(input: SpecInput): object {
  const { process, container, limits } = input;
  const capabilities = capabilitiesOf(container);
  const effective = process.user.uid === 0 ? capabilities : [];
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: process.user.uid, gid: process.user.gid, additionalGids: process.user.additionalGids, umask: 0o22 },
      args: process.args,
      env: Object.entries({ ...process.env, HOSTNAME: input.hostname }).map(([name, value]) => `${name}=${value}`),
      cwd: process.cwd,
      capabilities: { bounding: capabilities, effective, permitted: effective, inheritable: [], ambient: [] },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: input.openFiles, soft: Math.min(65_536, input.openFiles) }],
      noNewPrivileges: true,
      // An instance goes before the programs of the host when the whole machine runs out of memory.
      oomScoreAdj: 500,
    },
    root: { path: 'rootfs', readonly: container.securityContext?.readOnlyRootFilesystem ?? false },
    hostname: input.hostname,
    mounts: [...mounts(input.dir), ...mountsOf(container, input.volumes, input.dir)],
    linux: {
      namespaces: [
        { type: 'pid' },
        { type: 'mount' },
        { type: 'ipc' },
        { type: 'uts' },
        { type: 'cgroup' },
        { type: 'network', path: input.netns },
      ],
      cgroupsPath: input.cgroupsPath,
      resources: {
        devices: [{ allow: false, access: 'rwm' }],
        memory: { limit: limits.memoryBytes, ...(input.swapAccounting ? { swap: limits.memoryBytes } : {}) },
        cpu: cpuOf(limits),
        pids: { limit: limits.pids },
      },
      seccomp: defaultSeccomp(input.arch),
      rootfsPropagation: 'private',
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/interrupts',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/sched_debug',
        '/proc/scsi',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/sys/devices/virtual/powercap',
        '/sys/firmware',
      ],
      // Of cgroup v1 the runtimes leave the folder above the controllers writable.
      readonlyPaths: ['/sys/fs/cgroup', '/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

const cpuPeriodUs = 100_000;

function cpuOf({ cpuMillis, cpuShares }: Limits): object {
  if (cpuMillis === undefined) return { shares: cpuShares };
  return { shares: cpuShares, period: cpuPeriodUs, quota: Math.round((cpuMillis * cpuPeriodUs) / 1000) };
}

function capabilitiesOf(container: Container): string[] {
  const normal = (name: string) => (name.startsWith('CAP_') ? name : `CAP_${name}`).toUpperCase();
  const drop = new Set((container.securityContext?.capabilities?.drop ?? []).map(normal));
  return drop.has('CAP_ALL') ? [] : defaultCapabilities.filter((name) => !drop.has(name));
}

function mounts(dir: string): object[] {
  const generated = (name: string) => ({
    destination: `/etc/${name}`,
    type: 'bind',
    source: `${dir}/etc/${name}`,
    options: ['bind', 'ro', 'nosuid', 'nodev', 'private'],
  });
  const fresh = (destination: string, type: string, source: string, ...options: string[]) => ({
    destination,
    type,
    source,
    options: ['nosuid', ...options],
  });
  return [
    fresh('/proc', 'proc', 'proc', 'noexec', 'nodev'),
    fresh('/dev', 'tmpfs', 'tmpfs', 'strictatime', 'mode=755', 'size=65536k'),
    fresh('/dev/pts', 'devpts', 'devpts', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
    fresh('/dev/shm', 'tmpfs', 'shm', 'noexec', 'nodev', 'mode=1777', 'size=65536k'),
    fresh('/dev/mqueue', 'mqueue', 'mqueue', 'noexec', 'nodev'),
    fresh('/sys', 'sysfs', 'sysfs', 'noexec', 'nodev', 'ro'),
    fresh('/sys/fs/cgroup', 'cgroup', 'cgroup', 'noexec', 'nodev', 'relatime', 'ro'),
    generated('hosts'),
    generated('hostname'),
    generated('resolv.conf'),
  ];
}
