import { isDeepStrictEqual } from 'node:util';
import { EbbError } from '../platform/errors.ts';
import { groupOf, timestamp, type KubeObject } from '../resources/index.ts';
import type { ObjectKey } from './store.ts';

/** An object as the store sees it: metadata it owns, status it keeps apart, and everything else, opaque. */
export type StoredObject = KubeObject & { status?: unknown } & Record<string, unknown>;

export function keyOfObject(object: KubeObject): ObjectKey {
  return {
    group: groupOf(object.apiVersion),
    kind: object.kind,
    namespace: object.metadata.namespace,
    name: object.metadata.name,
  };
}

/** `Service.serving.knative.dev "hello" in namespace "default"`: how errors name an object. */
export function describeKey(key: ObjectKey): string {
  const kind = key.group === '' ? key.kind : `${key.kind}.${key.group}`;
  return `${kind} "${key.name}"${key.namespace === undefined ? '' : ` in namespace "${key.namespace}"`}`;
}

/** The first state of a new object: an identity of its own, and no status (that is written through updateStatus alone). */
export function born(given: StoredObject, uid: string, nowMs: number): StoredObject {
  const object = structuredClone(given);
  delete object.status;
  const metadata = object.metadata;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  metadata.uid = uid;
  metadata.generation = 1;
  metadata.creationTimestamp = timestamp(nowMs);
  return object;
}

/**
 * What an update makes of the current object: everything given but status and the fields that the store owns.
 * The generation moves when anything but metadata and status differs. Returns `current` itself when nothing changes.
 */
export function updated(current: StoredObject, given: StoredObject): StoredObject {
  checkPreconditions(current, given.metadata.uid, given.metadata.resourceVersion);
  const next = structuredClone(given);
  if (current.status === undefined) delete next.status;
  else next.status = current.status;
  next.metadata = keepOwned(current, next);
  const contentChanged = !isDeepStrictEqual(contentOf(current), contentOf(next));
  next.metadata.generation = (current.metadata.generation ?? 1) + (contentChanged ? 1 : 0);
  return isDeepStrictEqual(current, jsonOf(next)) ? current : next;
}

/** What a status update makes of the current object: the given status, nothing else. */
export function statusUpdated(current: StoredObject, given: StoredObject): StoredObject {
  checkPreconditions(current, given.metadata.uid, given.metadata.resourceVersion);
  const next: StoredObject = { ...current };
  if (given.status === undefined) delete next.status;
  else next.status = structuredClone(given.status);
  return isDeepStrictEqual(current, jsonOf(next)) ? current : next;
}

/** Throws Conflict when the caller speaks of another incarnation or an older version than the current one. */
export function checkPreconditions(current: StoredObject, uid?: string, resourceVersion?: string): void {
  const what = describeKey(keyOfObject(current));
  if (uid !== undefined && uid !== '' && uid !== current.metadata.uid) {
    throw new EbbError(
      'Conflict',
      409,
      `Precondition failed: ${what} has UID ${current.metadata.uid ?? ''}, not ${uid}: it was deleted and created again`,
      { details: detailsOf(current) },
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== current.metadata.resourceVersion) {
    throw new EbbError(
      'Conflict',
      409,
      `Operation cannot be fulfilled on ${what}: the object has been modified; please apply your changes to the latest version and try again`,
      { details: detailsOf(current) },
    );
  }
}

function detailsOf(object: StoredObject): Record<string, unknown> {
  return { name: object.metadata.name, group: groupOf(object.apiVersion), kind: object.kind };
}

/** Fields of metadata that only the store sets, kept from the current object whatever the caller sends. */
function keepOwned(current: StoredObject, next: StoredObject): StoredObject['metadata'] {
  const metadata = { ...next.metadata };
  for (const field of [
    'uid',
    'resourceVersion',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generateName',
  ] as const) {
    const value = current.metadata[field];
    if (value === undefined) delete metadata[field];
    // The loop variable is one key of a union: each assignment is of a field to itself.
    else Object.assign(metadata, { [field]: value });
  }
  if (current.metadata.deletionTimestamp !== undefined) {
    const had = new Set(current.metadata.finalizers ?? []);
    const added = (metadata.finalizers ?? []).filter((f) => !had.has(f));
    if (added.length > 0) {
      throw new EbbError(
        'Invalid',
        422,
        `${describeKey(keyOfObject(current))} is being deleted: no new finalizers can be added, found ${added.join(', ')}`,
        { details: detailsOf(current) },
      );
    }
  }
  return metadata;
}

function contentOf(object: StoredObject): unknown {
  const { metadata: _metadata, status: _status, apiVersion: _apiVersion, kind: _kind, ...content } = object;
  return jsonOf(content);
}

/** As it will read when it comes back from JSON (no undefined fields), so that comparison sees what storage sees. */
function jsonOf<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
