import { setTimeout as delay } from 'node:timers/promises';
import { EbbError } from '../platform/errors.ts';
import { type Client, interrupted, type Query } from './client.ts';
import { codes } from './exit.ts';
import type { KubeList, KubeObject } from './kube.ts';

interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject & { code?: number; message?: string; reason?: string };
}

/** A control process that restarts is back within seconds. */
const maxUnreachableTries = 20;
const retryDelayMs = 500;

/**
 * The objects of one collection that match a selector: the whole list at first, then again after each change, by list and
 * watch as Kubernetes informers do it. Outlives ended watches and a restart of the server. Ends with an EbbError
 * Interrupted when the signal aborts; Unreachable when the server stays away.
 */
export async function* observe<T extends KubeObject>(
  client: Client,
  path: string,
  query: Query,
  signal: AbortSignal,
): AsyncGenerator<T[]> {
  let tries = 0;
  for (;;) {
    try {
      const list = await client.get<KubeList<T>>(path, { query, signal });
      tries = 0;
      const known = new Map(list.items.map((item) => [keyOf(item), item]));
      yield [...known.values()];
      const resourceVersion = list.metadata?.resourceVersion;
      const watch = client.lines('GET', path, { query: { ...query, watch: true, resourceVersion }, signal });
      for await (const event of watch) {
        if (apply(known, event as WatchEvent) === 'stale') break;
        yield [...known.values()];
      }
    } catch (error) {
      const gone = error instanceof EbbError && error.code === codes.unreachable;
      if (!gone || ++tries > maxUnreachableTries) throw error;
    }
    if (signal.aborted) throw interrupted();
    await delay(retryDelayMs, undefined, { signal }).catch(() => {
      throw interrupted();
    });
  }
}

/** One object by name; undefined while there is none. */
export async function* observeOne<T extends KubeObject>(
  client: Client,
  path: string,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<T | undefined> {
  for await (const items of observe<T>(client, path, { fieldSelector: `metadata.name=${name}` }, signal)) {
    yield items.find((item) => item.metadata.name === name);
  }
}

function apply<T extends KubeObject>(known: Map<string, T>, event: WatchEvent): 'changed' | 'stale' {
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      // What the collection holds is what was asked for: the server answers for the type.
      known.set(keyOf(event.object), event.object as unknown as T);
      return 'changed';
    case 'DELETED':
      known.delete(keyOf(event.object));
      return 'changed';
    case 'BOOKMARK':
      return 'changed';
    case 'ERROR':
      return 'stale'; // 410 Expired and the like: list anew
  }
}

function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}
