import { EbbError, messageOf } from '../platform/errors.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { KubeObject } from '../resources/index.ts';
import type { KindKey, ResourceStore } from '../store/store.ts';

/** `previous` is undefined when the object is new; `object` is its last state when it is gone. */
export interface Change<T> {
  type: 'changed' | 'gone';
  object: T;
  previous: T | undefined;
}

export interface InformerOptions<T> {
  store: ResourceStore;
  kind: KindKey;
  /** Names of indexes and, for each, the values (`namespace/name`, say) under which an object is found. */
  indexes?: Record<string, (object: T) => string[]>;
  clock: Clock;
  logger: Logger;
  signal: AbortSignal;
}

/**
 * All objects of one kind in memory, kept up to date by a watch. What it hands out is shared: never change it.
 * What the caller itself writes goes in with {@link Informer.put}, so that it always reads at least its own writes.
 */
export interface Informer<T extends KubeObject> {
  get(namespace: string, name: string): T | undefined;
  /** Looks up by `namespace/name`. */
  at(key: string): T | undefined;
  all(): Iterable<T>;
  keys(): Iterable<string>;
  by(index: string, value: string): T[];
  /** Takes in what a write returned; ignored if something newer is known. */
  put(object: T): void;
  /** Called synchronously for each change, in order. */
  on(listener: (change: Change<T>) => void): void;
  /** Resolves when the cache holds everything stored; watches from then on until the signal aborts. */
  start(): Promise<void>;
  /** Resolves when the watch has ended after the signal. */
  readonly ended: Promise<void>;
}

const firstRetryMs = 100;
const lastRetryMs = 10_000;

/** `namespace/name`: the key of caches and queues. */
export function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

export function createInformer<T extends KubeObject>(options: InformerOptions<T>): Informer<T> {
  const { store, kind, signal, clock } = options;
  const logger = options.logger.child({ kind: kind.kind });
  const objects = new Map<string, T>();
  const indexes = new Map(
    Object.entries(options.indexes ?? {}).map(([name, of]) => [name, { of, keys: new Map<string, Set<string>>() }]),
  );
  const listeners: ((change: Change<T>) => void)[] = [];
  /** The watch has delivered everything up to here: an older object that isn't in the cache has been deleted since. */
  let seen = 0;
  let ended: Promise<void> = Promise.resolve();

  function set(key: string, object: T): void {
    const previous = objects.get(key);
    if (previous && versionOf(previous) >= versionOf(object)) return;
    if (previous) unindex(key, previous);
    objects.set(key, object);
    for (const { of, keys } of indexes.values()) {
      for (const value of of(object)) {
        const under = keys.get(value);
        if (under) under.add(key);
        else keys.set(value, new Set([key]));
      }
    }
    for (const listener of listeners) listener({ type: 'changed', object, previous });
  }

  function remove(key: string, version: number): void {
    const previous = objects.get(key);
    if (!previous || versionOf(previous) > version) return;
    unindex(key, previous);
    objects.delete(key);
    for (const listener of listeners) listener({ type: 'gone', object: previous, previous });
  }

  function unindex(key: string, object: T): void {
    for (const { of, keys } of indexes.values()) {
      for (const value of of(object)) {
        const under = keys.get(value);
        under?.delete(key);
        if (under?.size === 0) keys.delete(value);
      }
    }
  }

  async function relist(): Promise<string> {
    const { items, resourceVersion } = await store.list<T>(kind);
    const present = new Set(items.map(keyOf));
    for (const key of [...objects.keys()]) if (!present.has(key)) remove(key, Number(resourceVersion));
    for (const item of items) set(keyOf(item), item);
    seen = Math.max(seen, Number(resourceVersion));
    return resourceVersion;
  }

  /** Follows the watch until it ends; returns the version to go on from. */
  async function follow(from: string): Promise<string> {
    let version = from;
    for await (const event of store.watch<T>(kind, { fromVersion: from, signal })) {
      version = event.type === 'BOOKMARK' ? event.resourceVersion : (event.object.metadata.resourceVersion ?? version);
      if (event.type === 'DELETED') remove(keyOf(event.object), Number(version));
      else if (event.type !== 'BOOKMARK') set(keyOf(event.object), event.object);
      seen = Math.max(seen, Number(version));
    }
    return version;
  }

  async function run(from: string): Promise<void> {
    let version: string | undefined = from;
    let retryMs = firstRetryMs;
    while (!signal.aborted) {
      try {
        version = await follow(version ?? (await relist()));
        retryMs = firstRetryMs;
      } catch (error) {
        if (signal.aborted) return;
        version = undefined;
        // The watch was slower than the history is long: everything is read anew.
        if (error instanceof EbbError && error.code === 'Expired') continue;
        logger.warn({ error: messageOf(error), retryMs }, 'watch failed');
        await pause(clock, retryMs, signal);
        retryMs = Math.min(lastRetryMs, retryMs * 2);
      }
    }
  }

  return {
    get: (namespace, name) => objects.get(`${namespace}/${name}`),
    at: (key) => objects.get(key),
    all: () => objects.values(),
    keys: () => objects.keys(),
    by(index, value) {
      const found: T[] = [];
      for (const key of indexes.get(index)?.keys.get(value) ?? []) {
        const object = objects.get(key);
        if (object) found.push(object);
      }
      return found;
    },
    put(object) {
      const key = keyOf(object);
      if (objects.has(key) || versionOf(object) > seen) set(key, object);
    },
    on: (listener) => void listeners.push(listener),
    async start() {
      const version = await relist();
      ended = run(version);
    },
    get ended() {
      return ended;
    },
  };
}

function versionOf(object: KubeObject): number {
  return Number(object.metadata.resourceVersion ?? 0);
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(ms, resolve);
    signal.addEventListener('abort', () => (timer[Symbol.dispose](), resolve()), { once: true });
  });
}
