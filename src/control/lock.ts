import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EbbError } from '../platform/errors.ts';

/**
 * Takes the one lock of a data directory, or throws EbbError AlreadyRunning.
 *
 * The lock is SQLite's exclusive lock on a small database of its own: a kernel file lock, so it ends with the process
 * however that dies, is not inherited by children, and holds across mount and network namespaces. Node has no flock(2).
 */
export function lockDataDir(file: string, dataDir: string): Disposable {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(file);
  try {
    db.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    throw new EbbError(
      'AlreadyRunning',
      409,
      `another Ebb is running on ${dataDir}: stop it with "ebb down", or give this one --data-dir and --run-dir of its own`,
      { cause },
    );
  }
  return { [Symbol.dispose]: () => db.close() };
}
