import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** Facts of the running control process, for people and for `ebb down` when the API does not answer. */
export interface ControlInfo {
  pid: number;
  /** Kernel start time of the process (field 22 of /proc/PID/stat), so that a reused pid is not taken for ours. */
  startTime: string;
  version: string;
  api: string;
  gateway: string;
  dataDir: string;
  startedAt: string;
}

export function writeControlInfo(file: string, info: ControlInfo): void {
  writeFileSync(`${file}.tmp`, JSON.stringify(info, null, 2), { mode: 0o644 });
  renameSync(`${file}.tmp`, file);
}

export function removeControlInfo(file: string): void {
  rmSync(file, { force: true });
}

/** The kernel's start time of a process, or undefined when there is none of that id. proc(5), /proc/PID/stat. */
export function processStartTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field, the command in parentheses, may hold spaces and parentheses of its own.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined; // no such process
  }
}
