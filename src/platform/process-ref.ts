import { readFileSync } from 'node:fs';

/** A process beyond doubt: a pid alone may have been given to another one since. */
export interface ProcessRef {
  pid: number;
  /** Start time in clock ticks since boot: field 22 of /proc/PID/stat. */
  startTicks: number;
}

/** The process that has `pid` now; undefined when there is none, or only its zombie. Reads one line of /proc. */
export function identify(pid: number): ProcessRef | undefined {
  let line: string;
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // no such process
  }
  // The second field is the name in parentheses and may hold anything, parentheses too.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const startTicks = Number(fields[19]);
  return state === 'Z' || state === 'X' || !Number.isFinite(startTicks) ? undefined : { pid, startTicks };
}

export function isAlive(ref: ProcessRef): boolean {
  return identify(ref.pid)?.startTicks === ref.startTicks;
}
