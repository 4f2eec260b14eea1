import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { ObjectTable } from '../deletion.ts';
import type { StoredObject } from '../lifecycle.ts';
import { keyOfObject } from '../lifecycle.ts';
import type { KindKey, ObjectKey } from '../store.ts';

export interface ChangeRow {
  version: number;
  namespace: string;
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  body: string;
  previous: string | null;
}

export interface ListRow {
  namespace: string;
  name: string;
  body: string;
}

/** The statements over the tables of schema.ts. Callers bring the transaction. */
export interface Tables extends ObjectTable {
  get(key: ObjectKey): StoredObject | undefined;
  /** The newest version; 0 in an empty store. */
  version(): number;
  /** The oldest version from which nothing is missing. */
  oldestVersion(): number;
  /** Objects in the order of (namespace, name), after the given pair, as they were at `version`. */
  rows(kind: KindKey, namespace: string | undefined, after: [string, string], version: number): Iterable<ListRow>;
  changes(kind: KindKey, namespace: string | undefined, after: number, limit: number): ChangeRow[];
  /** Forgets all but the newest `keep` changes. */
  compact(keep: number): void;
}

export function createTables(db: DatabaseSync): Tables {
  const sql = {
    get: db.prepare('SELECT body FROM objects WHERE grp = ? AND kind = ? AND namespace = ? AND name = ?'),
    byUid: db.prepare('SELECT body FROM objects WHERE uid = ?'),
    dependents: db.prepare('SELECT o.body FROM owners w JOIN objects o ON o.uid = w.dependent WHERE w.owner = ?'),
    inNamespace: db.prepare('SELECT body FROM objects WHERE namespace = ?'),
    anyInNamespace: db.prepare('SELECT 1 FROM objects WHERE namespace = ? LIMIT 1'),
    put: db.prepare(
      `INSERT INTO objects (grp, kind, namespace, name, uid, version, body) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (grp, kind, namespace, name) DO UPDATE SET version = excluded.version, body = excluded.body`,
    ),
    remove: db.prepare('DELETE FROM objects WHERE uid = ?'),
    disown: db.prepare('DELETE FROM owners WHERE dependent = ?'),
    own: db.prepare('INSERT OR IGNORE INTO owners VALUES (?, ?)'),
    log: db.prepare('INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)'),
    newest: db.prepare('SELECT max(version) AS v FROM changes'),
    oldest: db.prepare('SELECT min(version) AS v FROM changes'),
    compact: db.prepare('DELETE FROM changes WHERE version <= ?'),
    rows: db.prepare(
      `SELECT namespace, name, body FROM objects
       WHERE grp = $grp AND kind = $kind AND ($ns IS NULL OR namespace = $ns) AND (namespace, name) > ($ns0, $name0)
       ORDER BY namespace, name`,
    ),
    // Undoes every change after $version: an object changed since is shown as it was before its first such change.
    rowsAt: db.prepare(
      `SELECT namespace, name, body FROM (
         SELECT namespace, name, body FROM objects
         WHERE grp = $grp AND kind = $kind AND version <= $version
         UNION ALL
         SELECT namespace, name, previous AS body FROM changes
         WHERE version IN (SELECT min(version) FROM changes WHERE grp = $grp AND kind = $kind AND version > $version
                           GROUP BY namespace, name)
           AND previous IS NOT NULL)
       WHERE ($ns IS NULL OR namespace = $ns) AND (namespace, name) > ($ns0, $name0)
       ORDER BY namespace, name`,
    ),
    changes: db.prepare(
      `SELECT version, namespace, type, body, previous FROM changes
       WHERE grp = ? AND kind = ? AND version > ? ORDER BY version LIMIT ?`,
    ),
    changesIn: db.prepare(
      `SELECT version, namespace, type, body, previous FROM changes
       WHERE grp = ? AND kind = ? AND version > ? AND namespace = ? ORDER BY version LIMIT ?`,
    ),
  };

  const one = (statement: StatementSync, ...args: SQLInputValue[]) => {
    const row = statement.get(...args) as { body: string } | undefined;
    return row && (JSON.parse(row.body) as StoredObject);
  };
  const all = (statement: StatementSync, ...args: SQLInputValue[]) =>
    (statement.all(...args) as { body: string }[]).map((row) => JSON.parse(row.body) as StoredObject);
  const version = () => (sql.newest.get() as { v: number | null }).v ?? 0;

  function log(type: ChangeRow['type'], object: StoredObject, body: string, at: number, previous?: StoredObject) {
    const key = keyOfObject(object);
    const before = previous === undefined ? null : JSON.stringify(previous);
    sql.log.run(at, key.group, key.kind, key.namespace ?? '', key.name, type, body, before);
  }

  function stamp(object: StoredObject): { next: StoredObject; at: number; body: string } {
    const at = version() + 1;
    const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(at) } };
    return { next, at, body: JSON.stringify(next) };
  }

  return {
    version,
    oldestVersion: () => {
      const { v } = sql.oldest.get() as { v: number | null };
      return v === null ? 0 : v - 1;
    },
    get: (key) => one(sql.get, key.group, key.kind, key.namespace ?? '', key.name),
    byUid: (uid) => one(sql.byUid, uid),
    namespaceObject: (name) => one(sql.get, '', 'Namespace', '', name),
    dependents: (uid) => all(sql.dependents, uid),
    inNamespace: (name) => all(sql.inNamespace, name),
    isNamespaceEmpty: (name) => sql.anyInNamespace.get(name) === undefined,
    put(object, previous) {
      const { next, at, body } = stamp(object);
      const key = keyOfObject(next);
      const uid = next.metadata.uid ?? '';
      sql.put.run(key.group, key.kind, key.namespace ?? '', key.name, uid, at, body);
      sql.disown.run(uid);
      for (const owner of next.metadata.ownerReferences ?? []) sql.own.run(owner.uid, uid);
      log(previous ? 'MODIFIED' : 'ADDED', next, body, at, previous);
      return JSON.parse(body) as StoredObject;
    },
    remove(object) {
      const { next, at, body } = stamp(object);
      sql.remove.run(object.metadata.uid ?? '');
      log('DELETED', next, body, at, object);
    },
    rows(kind, namespace, [ns0, name0], at) {
      const parameters = { $grp: kind.group, $kind: kind.kind, $ns: namespace ?? null, $ns0: ns0, $name0: name0 };
      const rows =
        at === version() ? sql.rows.iterate(parameters) : sql.rowsAt.iterate({ ...parameters, $version: at });
      return rows as Iterable<unknown> as Iterable<ListRow>;
    },
    changes(kind, namespace, after, limit) {
      const rows =
        namespace === undefined
          ? sql.changes.all(kind.group, kind.kind, after, limit)
          : sql.changesIn.all(kind.group, kind.kind, after, namespace, limit);
      return rows as unknown[] as ChangeRow[];
    },
    compact: (keep) => void sql.compact.run(version() - keep),
  };
}
