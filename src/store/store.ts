import type { KubeObject } from '../resources/index.ts';

/** Which collection: `{ group: 'serving.knative.dev', kind: 'Service' }`; group "" is core. Versions share storage. */
export interface KindKey {
  group: string;
  kind: string;
}

export interface ObjectKey extends KindKey {
  namespace: string | undefined;
  name: string;
}

export interface ListOptions {
  namespace?: string | undefined;
  /** Tells whether an object belongs in the answer (label and field selectors, already parsed). */
  matches?: (object: KubeObject) => boolean;
  limit?: number;
  continueToken?: string;
}

export interface ListResult<T> {
  items: T[];
  /** The store's version that this list is a snapshot of; a watch from here misses and repeats nothing. */
  resourceVersion: string;
  continueToken?: string;
}

export type WatchEvent<T = KubeObject> =
  | { type: 'ADDED' | 'DELETED'; object: T }
  /** `previous`, where the store knows it: the object just before, so that selectors can tell who enters and who leaves. */
  | { type: 'MODIFIED'; object: T; previous?: T }
  /** Nothing up to this version is missing. */
  | { type: 'BOOKMARK'; resourceVersion: string };

export interface WatchOptions {
  namespace?: string | undefined;
  /** Events after this version. Absent: the current state as ADDED, a BOOKMARK, then changes. */
  fromVersion?: string;
  signal: AbortSignal;
}

export interface DeleteOptions {
  uid?: string;
  resourceVersion?: string;
  propagation?: 'Background' | 'Foreground' | 'Orphan';
}

/**
 * Where objects live: embedded SQLite on one machine, the cluster's API server on Kubernetes.
 * One contract suite (`contract.ts`) is run against every implementation.
 *
 * The store owns uid, resourceVersion (one monotonic integer for the whole store), generation (bumped when anything
 * but metadata and status changes), creationTimestamp, deletionTimestamp, finalizers and the deletion of dependents.
 * It does not default or validate: the API server does, before it writes. What it returns is the caller's to keep and
 * change; what it was given is never changed.
 *
 * Throws EbbError with code NotFound (404), AlreadyExists (409), Conflict (409, the object has moved on since
 * `metadata.resourceVersion`), Expired (410, a watch or continue token from a version no longer kept).
 */
export interface ResourceStore extends AsyncDisposable {
  get<T extends KubeObject>(key: ObjectKey): Promise<T | undefined>;
  list<T extends KubeObject>(kind: KindKey, options?: ListOptions): Promise<ListResult<T>>;
  watch<T extends KubeObject>(kind: KindKey, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(object: T): Promise<T>;
  /** Replaces everything but status. Optimistic: fails with Conflict if `metadata.resourceVersion` is set and stale. */
  update<T extends KubeObject>(object: T): Promise<T>;
  /** Replaces status alone (and nothing else). Same concurrency rule. */
  updateStatus<T extends KubeObject>(object: T): Promise<T>;
  delete(key: ObjectKey, options?: DeleteOptions): Promise<void>;
}
