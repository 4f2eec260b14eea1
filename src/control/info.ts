import { renameSync, rmSync, writeFileSync } from 'node:fs';

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
