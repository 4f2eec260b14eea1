import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EbbError, messageOf } from '../../platform/errors.ts';
import { timestamp } from '../../resources/index.ts';

/** Each entry brings a database from version i to i + 1. Entries are only ever added. */
const migrations: readonly string[] = [
  `
  -- The current state. Cluster-scoped objects have namespace ''. The body is the whole object as JSON.
  CREATE TABLE objects (
    grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    uid TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (grp, kind, namespace, name)
  );
  CREATE INDEX objects_by_namespace ON objects (namespace);
  -- Which object names which owner, for the deletion of dependents.
  CREATE TABLE owners (
    owner TEXT NOT NULL, dependent TEXT NOT NULL REFERENCES objects (uid) ON DELETE CASCADE,
    PRIMARY KEY (owner, dependent)
  ) WITHOUT ROWID;
  CREATE INDEX owners_by_dependent ON owners (dependent);
  -- Every change in order, the newest of them kept: watches read from here, and lists of a past version are made by
  -- undoing from here. version is contiguous, so the oldest row tells how far back a watch may begin.
  CREATE TABLE changes (
    version INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    type TEXT NOT NULL, body TEXT NOT NULL, previous TEXT
  );
  CREATE INDEX changes_by_kind ON changes (grp, kind, version);
  `,
];

/**
 * Opens or creates the database of a store (mode 0600: it holds Secrets) and brings its schema up to date.
 * Throws EbbError StoreCorrupt when it is damaged or no database, StoreTooNew when a later Ebb has written it.
 */
export function openDatabase(file: string, nowMs: number): DatabaseSync {
  if (file !== ':memory:') {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    // SQLite gives its -wal and -shm files the mode of the main file.
    closeSync(openSync(file, 'a', 0o600));
  }
  const db = new DatabaseSync(file);
  try {
    // FULL: an acknowledged write is on the disk. With WAL that is one fsync of an append for each transaction.
    db.exec(
      'PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON',
    );
    const check = db.prepare('PRAGMA quick_check(1)').get() as { quick_check: string };
    if (check.quick_check !== 'ok') throw new EbbError('StoreCorrupt', 500, corruptMessage(file, check.quick_check));
    migrate(db, file, nowMs);
    return db;
  } catch (error) {
    db.close();
    throw sqliteError(error, file);
  }
}

function migrate(db: DatabaseSync, file: string, nowMs: number): void {
  db.exec('CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, appliedAt TEXT NOT NULL)');
  const row = db.prepare('SELECT max(version) AS version FROM migrations').get() as { version: number | null };
  const version = row.version ?? 0;
  if (version > migrations.length) {
    throw new EbbError(
      'StoreTooNew',
      500,
      `the state in ${file} was written by a newer Ebb (schema ${version}, this one knows ${migrations.length}): upgrade Ebb, or restore the copy made before the upgrade`,
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    db.exec('BEGIN IMMEDIATE');
    db.exec(sql);
    db.prepare('INSERT INTO migrations VALUES (?, ?)').run(index + 1, timestamp(nowMs));
    db.exec('COMMIT');
  }
}

/** SQLite's own failures as EbbErrors with a way out; every other error as it is. Codes: sqlite.org/rescode.html. */
export function sqliteError(error: unknown, file: string): unknown {
  const errcode = (error as { errcode?: unknown } | null)?.errcode;
  if (typeof errcode !== 'number') return error;
  const options = { cause: error };
  switch (errcode & 0xff) {
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return new EbbError('StoreCorrupt', 500, corruptMessage(file, messageOf(error)), options);
    case 13: // SQLITE_FULL
      return new EbbError('StorageFull', 507, `no space left for the state in ${file}: free some disk space`, options);
    case 5: // SQLITE_BUSY
      return new EbbError(
        'StoreBusy',
        503,
        `another process holds the state in ${file}: stop it or try again`,
        options,
      );
    case 8: // SQLITE_READONLY
    case 10: // SQLITE_IOERR
    case 14: // SQLITE_CANTOPEN
      return new EbbError('StoreUnavailable', 500, `cannot use the state in ${file}: ${messageOf(error)}`, options);
    default:
      return error;
  }
}

function corruptMessage(file: string, detail: string): string {
  return `the state in ${file} is damaged (${detail}): restore it from a backup, or move it away to start empty`;
}
