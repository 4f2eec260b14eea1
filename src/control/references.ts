import type { References, Workload } from '../engine/engine.ts';
import type { Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { referencesOf, type ObjectReference } from '../resources/index.ts';
import type { ResourceStore } from '../store/store.ts';
import { resolveReferences, type DataObject } from './resolve-references.ts';

/**
 * Reads what a workload takes from Secrets and ConfigMaps from the store as it is now: nothing of it is kept. Throws as
 * {@link resolveReferences}.
 */
export async function readReferences(store: ResourceStore, workload: Workload): Promise<References> {
  const { namespace, spec } = workload;
  const objects = new Map<string, DataObject>();
  for (const { kind, name } of referencesOf(spec)) {
    const object = await store.get<DataObject>({ group: '', kind, namespace, name });
    if (object && !object.metadata.deletionTimestamp) objects.set(`${kind}/${name}`, object);
  }
  const version = [...objects].map(([key, { metadata }]) => `${key}@${metadata.resourceVersion ?? ''}`).join(' ');
  return { version, ...resolveReferences(spec, ({ kind, name }) => objects.get(`${kind}/${name}`)) };
}

const retryMs = 1000;

/** Tells of each change of a Secret or ConfigMap from now on; runs until disposed. */
export function watchReferences(
  deps: { store: ResourceStore; clock: Clock; logger: Logger },
  changed: (namespace: string, reference: ObjectReference) => void,
): AsyncDisposable {
  const stop = new AbortController();
  const { signal } = stop;
  const follow = async (kind: ObjectReference['kind']) => {
    // Nothing is made of what there is before anything could watch; there may be thousands of them.
    let from = await versionOf(deps.store, kind);
    while (!signal.aborted) {
      try {
        const options = from === undefined ? { signal } : { fromVersion: from, signal };
        from = undefined;
        for await (const event of deps.store.watch({ group: '', kind }, options)) {
          if (event.type === 'BOOKMARK') continue;
          const { namespace = '', name } = event.object.metadata;
          changed(namespace, { kind, name });
        }
      } catch (error) {
        // Slower than the history is long: everything is told anew, which is more than has changed and harms nobody.
        if (signal.aborted || (error instanceof EbbError && error.code === 'Expired')) continue;
        deps.logger.warn({ kind, error: messageOf(error), retryMs }, 'watch failed');
        await pause(deps.clock, signal);
      }
    }
  };
  const running = Promise.all([follow('Secret'), follow('ConfigMap')]);
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

async function versionOf(store: ResourceStore, kind: ObjectReference['kind']): Promise<string | undefined> {
  try {
    return (await store.list({ group: '', kind }, { limit: 1 })).resourceVersion;
  } catch {
    return undefined; // the watch will meet the same failure, and say so
  }
}

function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(retryMs, resolve);
    signal.addEventListener('abort', () => (timer[Symbol.dispose](), resolve()), { once: true });
  });
}
