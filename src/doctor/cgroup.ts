import { readFile } from 'node:fs/promises';
import { fail, ok, type Check, type Verdict } from './check.ts';

const needed = ['cpu', 'memory', 'pids'];
const root = '/sys/fs/cgroup';

/** The cgroup layout of this machine, v1, hybrid or v2, and whether limits can be set in it. */
export function cgroupCheck(): Check {
  return {
    id: 'cgroups',
    what: 'cgroups',
    async run() {
      const mounts = await readFile('/proc/mounts', 'utf8');
      const unified = await readFile(`${root}/cgroup.controllers`, 'utf8').catch(() => undefined);
      return cgroupVerdict(mounts, unified);
    },
  };
}

/**
 * @param mounts text of /proc/mounts
 * @param unified text of the v2 root's cgroup.controllers, if the v2 hierarchy is mounted at /sys/fs/cgroup
 */
export function cgroupVerdict(mounts: string, unified: string | undefined): Verdict {
  const lines = mounts.split('\n').map((line) => line.split(' '));
  const v1 = lines.filter(([, , type]) => type === 'cgroup');
  const v2 = lines.find(([, , type]) => type === 'cgroup2');
  const isPureV2 = v2?.[1] === root && v1.length === 0;
  const layout = isPureV2 ? 'v2' : v2 ? 'hybrid' : 'v1';
  if (v1.length === 0 && !v2) {
    return fail('no cgroups are mounted', 'mount them: "mount -t cgroup2 cgroup2 /sys/fs/cgroup"');
  }
  const writable = (options: string | undefined) => options?.split(',').includes('rw') ?? false;
  const available = isPureV2
    ? (unified ?? '').trim().split(/\s+/)
    : v1.flatMap(([, , , options]) => options?.split(',') ?? []);
  const missing = needed.filter((controller) => !available.includes(controller));
  if (missing.length > 0) {
    const fix = `boot with the kernel option cgroup_enable=${missing.join(',')}, or mount that controller`;
    return fail(`${layout}, without ${missing.join(', ')}`, fix);
  }
  const readOnly = isPureV2
    ? !writable(v2[3])
    : v1.some(([, , , options]) => !writable(options) && needed.some((c) => options?.split(',').includes(c)));
  if (readOnly) {
    return fail(
      `${layout}, mounted read-only`,
      'remount it: "mount -o remount,rw /sys/fs/cgroup", or run Ebb on the host itself',
    );
  }
  return ok(`${layout}, with ${needed.join(', ')}`);
}
