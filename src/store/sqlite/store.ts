import { randomUUID } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { EbbError } from '../../platform/errors.ts';
import type { KubeObject } from '../../resources/index.ts';
import { deleteObject, isOrphaned, removeAndCollect } from '../deletion.ts';
import {
  born,
  checkPreconditions,
  describeKey,
  keyOfObject,
  statusUpdated,
  updated,
  type StoredObject,
} from '../lifecycle.ts';
import type { ListResult, ObjectKey, ResourceStore } from '../store.ts';
import { decodeContinue, encodeContinue } from './continue.ts';
import { openDatabase, sqliteError } from './schema.ts';
import { createTables } from './tables.ts';
import { expired, watchChanges } from './watch.ts';

export interface SqliteStoreOptions {
  /** Path of the database, or `:memory:`. */
  file: string;
  clock: Clock;
  /** How many changes are kept for watches and continued lists before they are Expired; 10,000 unless given. */
  history?: number;
  newUid?: () => string;
}

/**
 * The embedded {@link ResourceStore}. A write is on the disk when its promise resolves.
 * Throws EbbError StoreCorrupt, StoreTooNew, StoreBusy or StoreUnavailable when the file can't be used.
 */
export function openSqliteStore(options: SqliteStoreOptions): Promise<ResourceStore> {
  return Promise.resolve().then(() => createStore(options));
}

function createStore(options: SqliteStoreOptions): ResourceStore {
  const { file, clock, history = 10_000, newUid = randomUUID } = options;
  const db = openDatabase(file, clock.now());
  const tables = createTables(db);
  const wakes = new Set<() => void>();
  const closing = new AbortController();
  let uncompacted = 0;

  /** All or nothing; watches are woken after the commit. node:sqlite is synchronous, so transactions never interleave. */
  async function transact<T>(body: () => T): Promise<T> {
    closing.signal.throwIfAborted();
    try {
      db.exec('BEGIN IMMEDIATE');
      const before = tables.version();
      const result = body();
      uncompacted += tables.version() - before;
      if (uncompacted >= Math.max(1, history / 10)) {
        tables.compact(history);
        uncompacted = 0;
      }
      db.exec('COMMIT');
      for (const wake of wakes) wake();
      return result;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw sqliteError(error, file);
    }
  }

  async function read<T>(body: () => T): Promise<T> {
    closing.signal.throwIfAborted();
    try {
      return body();
    } catch (error) {
      throw sqliteError(error, file);
    }
  }

  function mustGet(key: ObjectKey): StoredObject {
    const current = tables.get(key);
    if (!current) throw notFound(key);
    return current;
  }

  /** Stores `next` and applies what follows from it: the last finalizer gone, or every owner gone. */
  function store(next: StoredObject, current: StoredObject): StoredObject {
    if (next === current) return current;
    const stored = tables.put(next, current);
    const done = stored.metadata.deletionTimestamp !== undefined && (stored.metadata.finalizers ?? []).length === 0;
    if (done) deleteObject(tables, stored, {}, clock.now());
    else if (isOrphaned(tables, stored) && !isOrphaned(tables, current)) removeAndCollect(tables, stored, clock.now());
    return stored;
  }

  return {
    get: <T extends KubeObject>(key: ObjectKey) => read(() => tables.get(key) as T | undefined),

    list: <T extends KubeObject>(
      kind: { group: string; kind: string },
      { namespace, matches, limit, continueToken }: Parameters<ResourceStore['list']>[1] = {},
    ) =>
      read((): ListResult<T> => {
        const newest = tables.version();
        const { version, after } = continueToken
          ? decodeContinue(continueToken)
          : { version: newest, after: ['', ''] as [string, string] };
        if (version > newest || version < tables.oldestVersion()) throw expired(version, tables);
        const items: T[] = [];
        const result = { items, resourceVersion: String(version) };
        let last: [string, string] = after;
        for (const row of tables.rows(kind, namespace, after, version)) {
          const object = JSON.parse(row.body) as T;
          if (matches && !matches(object)) continue;
          if (limit !== undefined && limit > 0 && items.length === limit) {
            return { ...result, continueToken: encodeContinue(version, last) };
          }
          items.push(object);
          last = [row.namespace, row.name];
        }
        return result;
      }),

    async *watch(kind, watchOptions) {
      const signal = AbortSignal.any([watchOptions.signal, closing.signal]);
      const wakeups = {
        on: (wake: () => void) => {
          wakes.add(wake);
          return { [Symbol.dispose]: () => void wakes.delete(wake) };
        },
      };
      try {
        // The store holds objects of every kind as JSON: which T is in a collection is the caller's knowledge.
        yield* watchChanges(tables, wakeups, clock, kind, { ...watchOptions, signal }) as AsyncGenerator<never>;
      } catch (error) {
        throw sqliteError(error, file);
      }
    },

    create: <T extends KubeObject>(given: T) =>
      transact(() => {
        const key = keyOfObject(given);
        const current = tables.get(key);
        if (current) throw alreadyExists(key, current);
        refuseEndingNamespace(key);
        const stored = tables.put(born(given as KubeObject as StoredObject, newUid(), clock.now()), undefined);
        // Made by a controller that had not seen yet that the owner is gone: born and collected, as in Kubernetes.
        if (isOrphaned(tables, stored)) deleteObject(tables, stored, {}, clock.now());
        return stored as KubeObject as T;
      }),

    update: <T extends KubeObject>(given: T) =>
      transact(() => {
        const current = mustGet(keyOfObject(given));
        return store(updated(current, given as KubeObject as StoredObject), current) as KubeObject as T;
      }),

    updateStatus: <T extends KubeObject>(given: T) =>
      transact(() => {
        const current = mustGet(keyOfObject(given));
        return store(statusUpdated(current, given as KubeObject as StoredObject), current) as KubeObject as T;
      }),

    delete: (key, deleteOptions = {}) =>
      transact(() => {
        const current = mustGet(key);
        checkPreconditions(current, deleteOptions.uid, deleteOptions.resourceVersion);
        deleteObject(tables, current, deleteOptions, clock.now());
      }),

    async [Symbol.asyncDispose]() {
      if (closing.signal.aborted) return;
      closing.abort(new EbbError('StoreClosed', 503, `the state in ${file} is closed: Ebb is shutting down`));
      db.close();
    },
  };

  function refuseEndingNamespace(key: ObjectKey): void {
    if (key.namespace === undefined) return;
    if (tables.namespaceObject(key.namespace)?.metadata.deletionTimestamp === undefined) return;
    throw new EbbError(
      'Forbidden',
      403,
      `cannot create ${describeKey(key)}: the namespace is being deleted; wait until it is gone or use another`,
      { details: { name: key.name, group: key.group, kind: key.kind, causes: [{ reason: 'NamespaceTerminating' }] } },
    );
  }
}

function notFound(key: ObjectKey): EbbError {
  const details = { name: key.name, group: key.group, kind: key.kind };
  return new EbbError('NotFound', 404, `${describeKey(key)} not found`, { details });
}

function alreadyExists(key: ObjectKey, current: StoredObject): EbbError {
  const going = current.metadata.deletionTimestamp === undefined ? '' : ': the old one is still being deleted';
  const details = { name: key.name, group: key.group, kind: key.kind };
  return new EbbError('AlreadyExists', 409, `${describeKey(key)} already exists${going}`, { details });
}
