import { readFileSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';

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

/** Sends a signal if the process is still that one. */
export function signalProcess(ref: ProcessRef, signal: number): void {
  if (!isAlive(ref)) return;
  try {
    process.kill(ref.pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error; // ended in between: what was wanted
  }
}

/**
 * Whether `signal` would be ignored by a container's first process: the kernel drops signals for which the init of a
 * pid namespace has no handler (pid_namespaces(7)). One that blocks it may be waiting in sigwait or a signalfd.
 */
export function ignoresSignal(ref: ProcessRef, signal: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${ref.pid}/status`, 'utf8');
  } catch {
    return false; // ended: the caller finds out
  }
  const mask = (name: string) => BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
  const bit = 1n << BigInt(signal - 1);
  return ((mask('SigCgt') | mask('SigBlk')) & bit) === 0n;
}
