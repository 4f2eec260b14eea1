import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Everything on this machine that still belongs to an Ebb with these directories and this engine id: processes, mounts,
 * links, network namespaces, nftables tables, cgroups. Empty when it has left nothing behind.
 */
export function leftovers(ebb: { dataDir: string; runDir: string; id: string }): string[] {
  const found: string[] = [];
  const ours = (text: string) => text.includes(ebb.runDir) || text.includes(ebb.dataDir);

  for (const pid of readdirSync('/proc').filter((d) => /^\d+$/.test(d) && Number(d) !== process.pid)) {
    const line = readOr(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    if (ours(line)) found.push(`process ${pid}: ${line.slice(0, 200)}`);
  }
  for (const line of readOr('/proc/self/mountinfo').split('\n')) if (ours(line)) found.push(`mount ${line}`);
  for (const line of output('ip', ['-o', 'link']).split('\n')) {
    if (line.includes(`ebb${ebb.id}`) || line.includes(`ebb-${ebb.id}`)) found.push(`link ${line}`);
  }
  if (existsSync('/run/netns')) {
    for (const name of readdirSync('/run/netns')) if (name.includes(ebb.id)) found.push(`network namespace ${name}`);
  }
  for (const line of output('nft', ['list', 'tables']).split('\n'))
    if (line.includes(ebb.id)) found.push(`nftables ${line}`);
  for (const controller of existsSync('/sys/fs/cgroup') ? readdirSync('/sys/fs/cgroup') : []) {
    const dir = join('/sys/fs/cgroup', controller, `ebb-${ebb.id}`);
    if (existsSync(dir)) found.push(`cgroup ${dir}`);
  }
  // crun, which never sees the v2 mount beside v1 controllers, would make folders in the directory below it.
  if (existsSync('/sys/fs/cgroup/unified/cgroup.controllers')) {
    const below = output('unshare', ['-m', 'sh', '-c', 'umount /sys/fs/cgroup/unified && ls /sys/fs/cgroup/unified']);
    if (below.includes(`ebb-${ebb.id}`)) found.push(`folders below /sys/fs/cgroup/unified: ebb-${ebb.id}`);
  }
  if (existsSync(`/sys/fs/cgroup/ebb-${ebb.id}`)) found.push(`cgroup /sys/fs/cgroup/ebb-${ebb.id}`);
  return found;
}

function readOr(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // the process has ended since the listing
  }
}

function output(command: string, args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' });
}
