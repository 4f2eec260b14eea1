import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Spawner } from '../platform/spawn.ts';
import { fail, ok, warn, type Check, type Verdict } from './check.ts';
import { nearestExisting } from './host.ts';

const namespaces = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'];
const trialTimeoutMs = 20_000;

/** A real overlay as instances get it, with its upper layer in memory: in a mount namespace that ends with the trial. */
export function overlayCheck(spawner: Spawner, isRoot: boolean, dataDir: string): Check {
  return {
    id: 'overlayfs',
    what: 'overlayfs',
    async run(signal) {
      const known = await readFile('/proc/filesystems', 'utf8');
      if (!isRoot) return untried(/\boverlay$/m.test(known) ? 'the kernel knows it' : 'not loaded yet');
      const folder = await mkdtemp(join(nearestExisting(dataDir), '.ebb-doctor-'));
      try {
        const script = `
          set -e
          cd "$1"
          mkdir lower memory
          mount -t tmpfs tmpfs memory
          mkdir memory/upper memory/work memory/merged
          mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/memory/upper,workdir=$1/memory/work" memory/merged
          echo written > memory/merged/file`;
        const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', folder];
        const trial = await spawner.run('unshare', args, { signal, timeoutMs: trialTimeoutMs });
        return trial.code === 0
          ? ok('a trial mount works')
          : fail(
              `a trial mount failed: ${firstLine(trial.stderr)}`,
              'run "modprobe overlay", or use a kernel with CONFIG_OVERLAY_FS',
            );
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

export function namespacesCheck(exists: (path: string) => boolean = existsSync): Check {
  return {
    id: 'namespaces',
    what: 'namespaces',
    run() {
      const missing = namespaces.filter((name) => !exists(`/proc/self/ns/${name}`));
      return missing.length === 0
        ? ok(namespaces.join(', '))
        : fail(
            `the kernel has no ${missing.join(', ')} namespace`,
            'use a kernel with CONFIG_NAMESPACES and its parts',
          );
    },
  };
}

export function nftablesCheck(spawner: Spawner, isRoot: boolean): Check {
  return {
    id: 'nftables',
    what: 'nftables',
    async run(signal) {
      if (!isRoot) return untried('not tried');
      // In a network namespace of its own: a real table with a NAT chain, gone with the namespace.
      const rules = 'add table ip ebbt; add chain ip ebbt nat { type nat hook postrouting priority 100; }';
      const args = ['--net', 'nft', rules];
      const trial = await spawner.run('unshare', args, { signal, timeoutMs: trialTimeoutMs });
      return trial.code === 0
        ? ok('a trial table works')
        : fail(
            `a trial table failed: ${firstLine(trial.stderr)}`,
            'install the package nftables, and use a kernel with CONFIG_NF_TABLES and CONFIG_NFT_NAT',
          );
    },
  };
}

export function networkCheck(spawner: Spawner, isRoot: boolean): Check {
  return {
    id: 'network',
    what: 'bridge and veth',
    async run(signal) {
      if (!isRoot) return untried('not tried');
      const script =
        'ip link add ebbt0 type bridge && ip link add ebbt1 type veth peer name ebbt2 && ip link set ebbt1 master ebbt0';
      const trial = await spawner.run('unshare', ['--net', 'sh', '-c', script], { signal, timeoutMs: trialTimeoutMs });
      return trial.code === 0
        ? ok('trial links work')
        : fail(
            `trial links failed: ${firstLine(trial.stderr)}`,
            'install the package iproute2, and run "modprobe bridge veth"',
          );
    },
  };
}

export function seccompCheck(read = () => readFile('/proc/sys/kernel/seccomp/actions_avail', 'utf8')): Check {
  return {
    id: 'seccomp',
    what: 'seccomp',
    async run() {
      const actions = await read().catch(() => '');
      return actions.includes('errno')
        ? ok('filters are available')
        : fail('the kernel has no seccomp filters', 'use a kernel with CONFIG_SECCOMP_FILTER');
    },
  };
}

function untried(message: string): Verdict {
  return warn(message, 'run "sudo ebb doctor" to have it tried for real');
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] || 'no reason given';
}
