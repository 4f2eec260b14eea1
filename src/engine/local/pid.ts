import { readFileSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import { isAlive, type ProcessRef } from '../../platform/process-ref.ts';

export { identify, isAlive, type ProcessRef } from '../../platform/process-ref.ts';

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
