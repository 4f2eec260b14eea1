import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { isAlive as isSame } from '../platform/process-ref.ts';
import { layout, type Paths } from '../platform/paths.ts';

/** What a control process says of itself in `<run-dir>/control.json`. */
export interface ControlRecord {
  pid: number;
  /** Kernel start time, so that a reused pid is not taken for ours. */
  startTime: string;
  api: string;
  gateway: string;
  dataDir: string;
}

/** The control process of these directories, if one is alive. */
export function runningControl(paths: Paths): ControlRecord | undefined {
  const record = readRecord(layout(paths).controlInfo);
  return record && isAlive(record) ? record : undefined;
}

/** Whether the very process of the record still runs (a zombie does not). */
export function isAlive(record: Pick<ControlRecord, 'pid' | 'startTime'>): boolean {
  return isSame({ pid: record.pid, startTicks: Number(record.startTime) });
}

/** A file of `src/control`, which the CLI starts as a program of its own and does not import. */
export function controlProgram(name: 'main' | 'cleanup' | 'runtime-test'): URL {
  return new URL(`../control/${name}${extname(import.meta.filename)}`, import.meta.url);
}

function readRecord(file: string): ControlRecord | undefined {
  try {
    const value = JSON.parse(readFileSync(file, 'utf8')) as Partial<ControlRecord>;
    if (typeof value.pid !== 'number' || typeof value.startTime !== 'string') return undefined;
    return {
      pid: value.pid,
      startTime: value.startTime,
      api: value.api ?? '',
      gateway: value.gateway ?? '',
      dataDir: value.dataDir ?? '',
    };
  } catch {
    return undefined; // not there, or being written by a version that does not do so atomically
  }
}
