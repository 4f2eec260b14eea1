import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import type { KubeObject } from '../resources/index.ts';
import type { WatchEvent, WatchOptions } from '../store/store.ts';
import type { Collection } from './collection.ts';
import type { PodView } from './views.ts';

/** Changes kept for watches that come back; older ones are Expired and their client lists again. */
const history = 1000;

type Change = { version: number; event: Exclude<WatchEvent, { type: 'BOOKMARK' }> };

/**
 * Gives a {@link PodView}, which only knows the present, versions and a history: it is compared with what was known
 * whenever it says that something changed, and before each answer.
 */
export function podCollection(view: PodView, clock: Clock): Collection & Disposable {
  // Versions begin at the time, in milliseconds, so that they go on growing over restarts of the process.
  let version = clock.now();
  let oldest = version;
  const known = new Map<string, { object: KubeObject; json: string }>();
  const changes: Change[] = [];
  const waiting = new Set<() => void>();
  let comparing: Promise<void> = Promise.resolve();

  function note(event: Change['event']): void {
    version += 1;
    event.object.metadata.resourceVersion = String(version);
    changes.push({ version, event });
    if (changes.length > history) oldest = changes.shift()?.version ?? oldest;
  }

  async function compareNow(): Promise<void> {
    const present = new Map((await view.list()).map((pod) => [keyOf(pod.metadata.namespace, pod.metadata.name), pod]));
    for (const [key, { object }] of known) {
      if (present.has(key)) continue;
      known.delete(key);
      note({ type: 'DELETED', object: structuredClone(object) });
    }
    for (const [key, pod] of present) {
      const before = known.get(key);
      const json = JSON.stringify(pod);
      if (before?.json === json) continue;
      const object = structuredClone(pod);
      known.set(key, { object, json });
      note(before ? { type: 'MODIFIED', object, previous: before.object } : { type: 'ADDED', object });
    }
    for (const wake of waiting) wake();
  }

  /** One comparison at a time, each later than the call that asked for it. */
  const compare = () => (comparing = comparing.then(compareNow, compareNow));

  const subscription = view.onChange(() => {
    if (waiting.size > 0) compare().catch(() => undefined); // the next answer compares again, and fails there
  });

  const within = (namespace: string | undefined) => (object: KubeObject) =>
    namespace === undefined || object.metadata.namespace === namespace;

  return {
    async get(namespace, name) {
      await compare();
      return known.get(keyOf(namespace, name))?.object;
    },
    async list({ namespace, matches = () => true }) {
      await compare();
      const items = [...known.values()].map((k) => k.object).filter(within(namespace));
      items.sort((a, b) =>
        keyOf(a.metadata.namespace, a.metadata.name) < keyOf(b.metadata.namespace, b.metadata.name) ? -1 : 1,
      );
      return { items: items.filter(matches), resourceVersion: String(version) };
    },
    async *watch({ namespace, fromVersion, signal }: WatchOptions) {
      await compare();
      let cursor = fromVersion === undefined ? version : Number(fromVersion);
      if (!(cursor >= oldest && cursor <= version)) throw expired(fromVersion);
      if (fromVersion === undefined) {
        for (const { object } of [...known.values()]) if (within(namespace)(object)) yield { type: 'ADDED', object };
        yield { type: 'BOOKMARK', resourceVersion: String(cursor) };
      }
      while (!signal.aborted) {
        if (cursor < oldest) throw expired(String(cursor));
        const next = changes.find((c) => c.version > cursor);
        if (next) {
          cursor = next.version;
          if (within(namespace)(next.event.object)) yield next.event;
        } else await changed(waiting, signal);
      }
    },
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}

function changed(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      waiting.delete(done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    waiting.add(done);
    signal.addEventListener('abort', done);
  });
}

const keyOf = (namespace: string | undefined, name: string) => `${namespace ?? ''}/${name}`;

function expired(version: string | undefined): EbbError {
  return new EbbError('Expired', 410, `too old resource version: ${version ?? ''}: list again`);
}
