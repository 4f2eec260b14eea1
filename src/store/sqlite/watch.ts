import { EbbError } from '../../platform/errors.ts';
import type { Clock } from '../../platform/clock.ts';
import type { StoredObject } from '../lifecycle.ts';
import type { KindKey, WatchEvent, WatchOptions } from '../store.ts';
import type { Tables } from './tables.ts';

/** Wakes every watch after a commit. */
export interface Wakeups {
  on(wake: () => void): Disposable;
}

/** Rows read from the change log at once: what a slow reader holds in memory, whatever happens meanwhile. */
const batch = 256;

/** How long a watch of a quiet kind stays silent before it is told how far the store has moved on (Kubernetes: 1 min). */
const bookmarkEveryMs = 60_000;

/**
 * A watch is a cursor into the change log: nothing is buffered for it, so that a slow one costs nothing; when the log has
 * been cut past its cursor it ends with Expired. Ends without an error when the signal aborts.
 */
export async function* watchChanges(
  tables: Tables,
  wakeups: Wakeups,
  clock: Clock,
  kind: KindKey,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<StoredObject>> {
  const { namespace, signal } = options;
  if (signal.aborted) return;
  const waiter = createWaiter(signal);
  using _wake = wakeups.on(waiter.wake);
  let bookmarkDue = false;
  using _bookmarks = clock.every(bookmarkEveryMs, () => {
    bookmarkDue = true;
    waiter.wake();
  });

  let cursor = startOf(tables, options);
  let told = cursor;
  if (options.fromVersion === undefined) {
    // Read whole, in one go: a snapshot at `cursor`. Parsed one by one as the reader takes them.
    const rows = [...tables.rows(kind, namespace, ['', ''], cursor)];
    for (const row of rows) {
      if (signal.aborted) return;
      yield { type: 'ADDED', object: JSON.parse(row.body) as StoredObject };
    }
    yield { type: 'BOOKMARK', resourceVersion: String(cursor) };
  }

  for (;;) {
    if (signal.aborted) return;
    if (cursor < tables.oldestVersion()) throw expired(cursor, tables);
    const newest = tables.version();
    const rows = tables.changes(kind, namespace, cursor, batch);
    for (const row of rows) {
      if (signal.aborted) return;
      cursor = row.version;
      told = cursor;
      const object = JSON.parse(row.body) as StoredObject;
      yield row.type === 'MODIFIED' && row.previous !== null
        ? { type: 'MODIFIED', object, previous: JSON.parse(row.previous) as StoredObject }
        : { type: row.type, object };
    }
    if (rows.length === batch) continue;
    // `newest` was read before the rows: everything up to it has been seen.
    cursor = Math.max(cursor, newest);
    if (bookmarkDue && cursor > told) {
      told = cursor;
      yield { type: 'BOOKMARK', resourceVersion: String(cursor) };
    }
    bookmarkDue = false;
    if (cursor === tables.version()) await waiter.wait();
  }
}

function startOf(tables: Tables, options: WatchOptions): number {
  const newest = tables.version();
  if (options.fromVersion === undefined) return newest;
  const from = Number(options.fromVersion);
  if (!Number.isSafeInteger(from) || from < 0) {
    throw new EbbError('BadRequest', 400, `invalid resourceVersion "${options.fromVersion}": must be a whole number`);
  }
  // A version from the future: the store was restored from a copy. The caller must list again.
  if (from > newest || from < tables.oldestVersion()) throw expired(from, tables);
  return from;
}

export function expired(version: number, tables: Tables): EbbError {
  return new EbbError(
    'Expired',
    410,
    `too old resource version: ${version} (${tables.oldestVersion()} to ${tables.version()} are kept): list again`,
  );
}

function createWaiter(signal: AbortSignal): { wake: () => void; wait: () => Promise<void> } {
  let awake = false;
  let resolve: (() => void) | undefined;
  const wake = () => {
    awake = true;
    resolve?.();
  };
  signal.addEventListener('abort', wake, { once: true });
  return {
    wake,
    async wait() {
      if (!awake) await new Promise<void>((r) => (resolve = r));
      resolve = undefined;
      awake = false;
    },
  };
}
