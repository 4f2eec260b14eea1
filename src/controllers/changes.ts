import { EbbError, messageOf } from '../platform/errors.ts';
import type { Configuration, DomainMapping, KubeObject, Revision, Route, Service } from '../resources/index.ts';
import type { ResourceStore } from '../store/store.ts';
import type { Informer } from './informer.ts';
import { servingGroup } from './names.ts';
import type { EventRecord, RecordEvent } from './ports.ts';

export type ServingObject = Service | Configuration | Revision | Route | DomainMapping;

/** What a plan asks for, in the order in which it is to be done. */
export type StoreChange =
  /** `by` is the owner, which hears about it in an Event. */
  | { do: 'create'; object: ServingObject; by: ServingObject }
  | { do: 'update'; object: ServingObject }
  | { do: 'update-status'; object: ServingObject }
  | { do: 'delete'; object: ServingObject }
  | { do: 'event'; about: ServingObject; type: EventRecord['type']; reason: string; message: string };

export interface Caches {
  Service: Informer<Service>;
  Configuration: Informer<Configuration>;
  Revision: Informer<Revision>;
  Route: Informer<Route>;
  DomainMapping: Informer<DomainMapping>;
}

/**
 * Carries changes out, one after the other. Every write is conditional on the version that the plan saw: a Conflict
 * ends it, and the next turn plans on what is there then. Writes reach the caches before this resolves.
 */
export async function carryOut(
  changes: readonly StoreChange[],
  deps: { store: ResourceStore; caches: Caches; recordEvent: RecordEvent },
): Promise<void> {
  const { store } = deps;
  /** A metadata update moves the version on which the status update after it depends. */
  const versions = new Map<string, string>();
  const written = (object: ServingObject) => {
    versions.set(object.metadata.uid ?? '', object.metadata.resourceVersion ?? '');
    remember(deps.caches, object);
  };
  const current = (object: ServingObject): ServingObject => {
    const version = versions.get(object.metadata.uid ?? '');
    return version === undefined ? object : { ...object, metadata: { ...object.metadata, resourceVersion: version } };
  };

  for (const change of changes) {
    switch (change.do) {
      case 'create': {
        const what = `${change.object.kind} "${change.object.metadata.name}"`;
        try {
          written(await store.create(change.object));
        } catch (error) {
          if (!(error instanceof EbbError && error.status === 409)) {
            const message = `Failed to create ${what}: ${messageOf(error)}`;
            deps.recordEvent({ object: referenceTo(change.by), type: 'Warning', reason: 'CreationFailed', message });
          }
          throw error;
        }
        const message = `Created ${what}`;
        deps.recordEvent({ object: referenceTo(change.by), type: 'Normal', reason: 'Created', message });
        break;
      }
      case 'update':
        written(await store.update(current(change.object)));
        break;
      case 'update-status':
        written(await store.updateStatus(current(change.object)));
        break;
      case 'delete':
        await remove(store, change.object);
        break;
      case 'event': {
        const { type, reason, message } = change;
        deps.recordEvent({ object: referenceTo(change.about), type, reason, message });
        break;
      }
    }
  }
}

async function remove(store: ResourceStore, object: ServingObject): Promise<void> {
  const { namespace, name, uid } = object.metadata;
  const key = { group: servingGroup, kind: object.kind, namespace, name };
  try {
    await store.delete(key, uid === undefined ? {} : { uid });
  } catch (error) {
    // Someone else was faster; gone is gone.
    if (!(error instanceof EbbError && error.code === 'NotFound')) throw error;
  }
}

function remember(caches: Caches, object: ServingObject): void {
  // `kind` tells the types apart at run time only; each informer takes exactly its own.
  const cache = caches[object.kind as keyof Caches] as Informer<KubeObject>;
  cache.put(object);
}

function referenceTo(object: ServingObject): EventRecord['object'] {
  const { namespace = '', name, uid = '' } = object.metadata;
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid };
}
