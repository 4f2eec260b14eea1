import { groupOf, timestamp, type OwnerReference } from '../resources/index.ts';
import type { StoredObject } from './lifecycle.ts';
import type { DeleteOptions } from './store.ts';

/** What the rules of deletion need from storage; every call is inside one transaction. */
export interface ObjectTable {
  byUid(uid: string): StoredObject | undefined;
  namespaceObject(name: string): StoredObject | undefined;
  /** Objects with an ownerReference to this uid. */
  dependents(uid: string): StoredObject[];
  isNamespaceEmpty(name: string): boolean;
  inNamespace(name: string): StoredObject[];
  /** Stores a changed object under a new version. */
  put(object: StoredObject, previous: StoredObject | undefined): StoredObject;
  remove(object: StoredObject): void;
}

/** The finalizer that holds an owner until its blocking dependents are gone (Kubernetes, "Garbage Collection"). */
const foreground = 'foregroundDeletion';

/**
 * Deletes an object by Kubernetes' rules. One with finalizers only gets its deletionTimestamp and goes when the last
 * finalizer does. Dependents whose owners are all gone are deleted in the same transaction (so that no crash leaves
 * orphans); `Orphan` takes the reference from them instead; `Foreground` keeps the owner until dependents with
 * blockOwnerDeletion are gone. A Namespace takes everything in it along and goes when it is empty.
 */
export function deleteObject(table: ObjectTable, object: StoredObject, options: DeleteOptions, nowMs: number): void {
  const uid = object.metadata.uid ?? '';
  if (options.propagation === 'Orphan')
    for (const d of table.dependents(uid)) dropOwner(table, d, (o) => o.uid === uid);
  const finalizers = new Set(object.metadata.finalizers);
  if (options.propagation === 'Foreground' && table.dependents(uid).length > 0) finalizers.add(foreground);
  const namespaceWithContent = isNamespace(object) && !table.isNamespaceEmpty(object.metadata.name);
  if (finalizers.size === 0 && !namespaceWithContent) return removeAndCollect(table, object, nowMs);
  markDeleted(table, object, [...finalizers], nowMs);
  if (finalizers.has(foreground)) for (const d of table.dependents(uid)) deleteAgain(table, d, nowMs);
  if (namespaceWithContent) for (const o of table.inNamespace(object.metadata.name)) deleteAgain(table, o, nowMs);
  settle(table, uid, nowMs);
}

/** Takes away an object that nothing holds any more, then what depended on it, then owners that waited for that. */
export function removeAndCollect(table: ObjectTable, object: StoredObject, nowMs: number): void {
  // A work list, not recursion: chains of owners are as long as clients care to make them.
  const queue = [object];
  for (let next = queue.pop(); next; next = queue.pop()) {
    const uid = next.metadata.uid ?? '';
    // Two paths may lead to one object, and an earlier step may have changed it.
    const gone = table.byUid(uid);
    if (!gone) continue;
    table.remove(gone);
    for (const dependent of table.dependents(uid)) {
      const held = collect(table, dependent, nowMs);
      if (held === 'free') queue.push(dependent);
    }
    for (const waiting of waitingFor(table, gone)) {
      const free = release(table, waiting);
      if (free) queue.push(free);
    }
  }
}

/** True when the object names owners and none of them exists (any more). */
export function isOrphaned(table: ObjectTable, object: StoredObject): boolean {
  const owners = object.metadata.ownerReferences ?? [];
  return owners.length > 0 && owners.every((o) => !ownerExists(table, object, o));
}

function collect(table: ObjectTable, dependent: StoredObject, nowMs: number): 'free' | 'held' {
  if (!isOrphaned(table, dependent)) {
    dropOwner(table, dependent, (o) => !ownerExists(table, dependent, o));
    return 'held';
  }
  const finalizers = dependent.metadata.finalizers ?? [];
  if (finalizers.length === 0) return 'free';
  markDeleted(table, dependent, finalizers, nowMs);
  return 'held';
}

/** Objects in deletion that `gone` may have been the last obstacle of. */
function waitingFor(table: ObjectTable, gone: StoredObject): StoredObject[] {
  const owners = (gone.metadata.ownerReferences ?? []).map((o) => table.byUid(o.uid));
  const namespace = gone.metadata.namespace === undefined ? undefined : table.namespaceObject(gone.metadata.namespace);
  return [...owners, namespace].filter((o) => o?.metadata.deletionTimestamp !== undefined) as StoredObject[];
}

function settle(table: ObjectTable, uid: string, nowMs: number): void {
  const object = table.byUid(uid);
  const free = object && release(table, object);
  if (free) removeAndCollect(table, free, nowMs);
}

/** Lifts the holds that no longer apply; returns the object when none is left. */
function release(table: ObjectTable, object: StoredObject): StoredObject | undefined {
  let current = object;
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(foreground) && !table.dependents(object.metadata.uid ?? '').some((d) => blocks(d, object))) {
    const rest = finalizers.filter((f) => f !== foreground);
    current = { ...object, metadata: { ...object.metadata, finalizers: rest } };
    if (rest.length > 0) current = table.put(current, object);
  }
  if ((current.metadata.finalizers ?? []).length > 0) return undefined;
  if (isNamespace(current) && !table.isNamespaceEmpty(current.metadata.name)) return undefined;
  return current;
}

function deleteAgain(table: ObjectTable, object: StoredObject, nowMs: number): void {
  // An earlier deletion of the same batch may have taken it along.
  const current = table.byUid(object.metadata.uid ?? '');
  if (current && current.metadata.deletionTimestamp === undefined) deleteObject(table, current, {}, nowMs);
}

function markDeleted(table: ObjectTable, object: StoredObject, finalizers: string[], nowMs: number): void {
  const unchanged = finalizers.length === (object.metadata.finalizers ?? []).length;
  if (object.metadata.deletionTimestamp !== undefined && unchanged) return;
  const metadata = {
    ...object.metadata,
    deletionTimestamp: object.metadata.deletionTimestamp ?? timestamp(nowMs),
    deletionGracePeriodSeconds: 0,
    // Being deleted counts as a change of intent: Kubernetes moves the generation, too.
    generation: (object.metadata.generation ?? 1) + (object.metadata.deletionTimestamp === undefined ? 1 : 0),
    ...(finalizers.length > 0 ? { finalizers } : {}),
  };
  table.put({ ...object, metadata }, object);
}

function dropOwner(table: ObjectTable, dependent: StoredObject, drop: (owner: OwnerReference) => boolean): void {
  const owners = dependent.metadata.ownerReferences ?? [];
  const left = owners.filter((o) => !drop(o));
  if (left.length === owners.length) return;
  const metadata = { ...dependent.metadata, ownerReferences: left };
  if (left.length === 0) delete (metadata as Partial<typeof metadata>).ownerReferences;
  table.put({ ...dependent, metadata }, dependent);
}

function ownerExists(table: ObjectTable, dependent: StoredObject, reference: OwnerReference): boolean {
  const owner = table.byUid(reference.uid);
  if (!owner) return false;
  // An owner is in the same namespace or in none; anything else is a reference to nobody.
  return owner.metadata.namespace === undefined || owner.metadata.namespace === dependent.metadata.namespace;
}

function blocks(dependent: StoredObject, owner: StoredObject): boolean {
  const references = dependent.metadata.ownerReferences ?? [];
  return references.some((o) => o.uid === owner.metadata.uid && o.blockOwnerDeletion === true);
}

function isNamespace(object: StoredObject): boolean {
  return object.kind === 'Namespace' && groupOf(object.apiVersion) === '';
}
