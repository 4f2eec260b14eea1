import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { Configuration, DomainMapping, KubeObject, Revision, Route, Service } from '../resources/index.ts';
import type { ResourceStore } from '../store/store.ts';
import type { Caches } from './changes.ts';
import { conditionOf } from './conditions.ts';
import { reconcileConfiguration } from './configuration/reconcile.ts';
import type { Context } from './context.ts';
import { publishStoredMappings, reconcileDomainMapping } from './domain-mapping/reconcile.ts';
import { createInformer, keyOf, type Change, type InformerOptions } from './informer.ts';
import { keys, servingGroup } from './names.ts';
import type { RecordEvent, RevisionRuntime, RoutePublisher } from './ports.ts';
import { createRevisionReconciler } from './revision/reconcile.ts';
import { labelsOf } from './route/hosts.ts';
import { publishStored, reconcileRoute } from './route/reconcile.ts';
import { reconcileService } from './service/reconcile.ts';
import { createWorkqueue, type Workqueue } from './workqueue.ts';

export interface ControllersOptions {
  store: ResourceStore;
  runtime: RevisionRuntime;
  publisher: RoutePublisher;
  recordEvent: RecordEvent;
  /** Hosts are `NAME.NAMESPACE.DOMAIN`. */
  domain: string;
  /** Shown in URLs unless it is 80; undefined: not shown. */
  gatewayPort: number | undefined;
  clock: Clock;
  logger: Logger;
}

export interface Controllers extends AsyncDisposable {
  /** Resolves when everything in the store has been acted on. Images may still be on their way, containers starting. */
  settled(): Promise<void>;
  /** Stops watching and reconciling; what runs goes on running. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Keys of one kind that are worked on at the same time. */
const parallel = 8;

/**
 * Starts the reconcilers. Resolves when everything stored is in memory, every stored Route has been published as its
 * status says, and reconciling has begun.
 */
export async function startControllers(options: ControllersOptions): Promise<Controllers> {
  const stop = new AbortController();
  const { clock } = options;
  const logger = options.logger.child({ part: 'controllers' });
  const caches = createCaches({ ...options, logger, signal: stop.signal });
  const context: Context = {
    ...options,
    logger,
    caches,
    names: { domain: options.domain, port: options.gatewayPort },
  };

  const queueOf = (name: string, reconcile: (key: string) => Promise<number | undefined>): Workqueue =>
    createWorkqueue({ name, reconcile, parallel, clock, logger });
  const revisions = createRevisionReconciler(context, (key, delayMs) => queues.Revision.add(key, delayMs));
  const queues: Record<keyof Caches, Workqueue> = {
    Service: queueOf('service', (key) => reconcileService(context, key)),
    Configuration: queueOf('configuration', (key) => reconcileConfiguration(context, key)),
    Revision: queueOf('revision', (key) => revisions.reconcile(key)),
    Route: queueOf('route', (key) => reconcileRoute(context, key)),
    DomainMapping: queueOf('domain-mapping', (key) => reconcileDomainMapping(context, key)),
  };

  await Promise.all(Object.values(caches).map((cache) => cache.start()));
  publishStored(context);
  publishStoredMappings(context);
  for (const kind of kinds) for (const key of caches[kind].keys()) queues[kind].add(key);
  connect(caches, queues);

  const all = Object.values(queues);
  return {
    async settled() {
      // Two quiet turns of the event loop: what one queue wrote has then reached the others.
      for (let quiet = 0; quiet < 2; quiet++) {
        if (!all.every((queue) => queue.idle)) quiet = -1;
        await Promise.all(all.map((queue) => queue.whenIdle()));
        await nextTurn();
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((queue) => queue[Symbol.asyncDispose]()));
      await revisions[Symbol.asyncDispose]();
      stop.abort();
      await Promise.all(Object.values(caches).map((cache) => cache.ended));
    },
  };
}

const kinds = ['Service', 'Configuration', 'Revision', 'Route', 'DomainMapping'] as const;

function createCaches(options: Pick<InformerOptions<KubeObject>, 'store' | 'clock' | 'logger' | 'signal'>): Caches {
  const { store, clock, logger, signal } = options;
  const of = <T extends KubeObject>(kind: string, indexes: NonNullable<InformerOptions<T>['indexes']>) =>
    createInformer<T>({ store, kind: { group: servingGroup, kind }, indexes, clock, logger, signal });
  return {
    Service: of<Service>('Service', { template: templateName }),
    Configuration: of<Configuration>('Configuration', { template: templateName }),
    Revision: of<Revision>('Revision', { configuration: (r) => configurationOf(r) }),
    Route: of<Route>('Route', {
      serves: (r) =>
        beside(
          r,
          (r.status?.traffic ?? []).map((t) => t.revisionName),
        ),
      names: (r) =>
        beside(
          r,
          (r.spec.traffic ?? []).map((t) => t.revisionName),
        ),
      follows: (r) =>
        beside(
          r,
          (r.spec.traffic ?? []).map((t) => t.configurationName),
        ),
      label: (r) => beside(r, labelsOf(r)),
    }),
    DomainMapping: of<DomainMapping>('DomainMapping', {
      domain: (m) => [m.metadata.name],
      target: (m) => beside(m, [m.spec.ref.name]),
    }),
  };
}

/** Who has to look again when something changes. Only what the other's plan reads counts. */
function connect(caches: Caches, queues: Record<keyof Caches, Workqueue>): void {
  const addAll = (kind: keyof Caches, list: Iterable<string>) => {
    for (const key of list) queues[kind].add(key);
  };
  const pendingOf = (configuration: string) =>
    caches.Revision.by('configuration', configuration)
      .filter((r) => r.metadata.labels?.[keys.routingState] !== 'active')
      .map(keyOf);

  caches.Service.on(({ object }) => queues.Service.add(keyOf(object)));

  caches.Configuration.on((change) => {
    const key = keyOf(change.object);
    queues.Configuration.add(key);
    queues.Service.add(key);
    if (moved(change, (c) => [c.status?.latestReadyRevisionName, conditionOf(c, 'Ready')?.status])) {
      addAll('Route', caches.Route.by('follows', key).map(keyOf));
    }
    if (moved(change, (c) => c.status?.latestCreatedRevisionName)) addAll('Revision', pendingOf(key));
  });

  caches.Revision.on((change) => {
    const key = keyOf(change.object);
    queues.Revision.add(key);
    if (moved(change, (r) => [conditionOf(r, 'Ready'), r.metadata.labels])) {
      addAll('Configuration', configurationOf(change.object));
    }
    if (moved(change, (r) => conditionOf(r, 'Ready')?.status)) {
      addAll('Route', [...caches.Route.by('names', key), ...caches.Route.by('serves', key)].map(keyOf));
    }
    if (moved(change, () => 0)) {
      addAll('Service', caches.Service.by('template', key).map(keyOf));
      addAll('Configuration', caches.Configuration.by('template', key).map(keyOf));
    }
  });

  caches.DomainMapping.on((change) => {
    // First itself: where it goes, its host has to be free before the next one takes it.
    queues.DomainMapping.add(keyOf(change.object));
    if (!moved(change, () => 0)) return;
    addAll('DomainMapping', caches.DomainMapping.by('domain', change.object.metadata.name).map(keyOf));
  });

  caches.Route.on((change) => {
    const key = keyOf(change.object);
    queues.Route.add(key);
    queues.Service.add(key);
    const states = [change.object, ...(change.previous ? [change.previous] : [])];
    if (moved(change, (r) => [r.status?.traffic, labelsOf(r), r.metadata.labels])) {
      const labels = new Set(states.flatMap((route) => beside(route, labelsOf(route))));
      for (const label of labels) addAll('DomainMapping', caches.DomainMapping.by('target', label).map(keyOf));
    }
    if (moved(change, (r) => [r.spec.traffic, r.status?.traffic])) {
      for (const route of states) {
        const targets = [...(route.spec.traffic ?? []), ...(route.status?.traffic ?? [])];
        addAll(
          'Revision',
          beside(
            route,
            targets.map((t) => t.revisionName),
          ),
        );
      }
    }
    if (moved(change, (r) => r.spec.traffic)) {
      for (const route of states) {
        const followed = beside(
          route,
          (route.spec.traffic ?? []).map((t) => t.configurationName),
        );
        for (const configuration of followed) addAll('Revision', pendingOf(configuration));
      }
    }
    if (moved(change, labelsOf)) {
      for (const route of states) {
        for (const label of beside(route, labelsOf(route))) addAll('Route', caches.Route.by('label', label).map(keyOf));
      }
    }
  });
}

/** Whether what `read` sees differs from before; always true for what is new or gone. */
function moved<T>(change: Change<T>, read: (object: T) => unknown): boolean {
  if (change.type === 'gone' || !change.previous) return true;
  return !isDeepStrictEqual(read(change.object), read(change.previous));
}

/** Keys of things with these names in the namespace of `object`, each once. */
function beside(object: KubeObject, names: readonly (string | undefined)[]): string[] {
  const { namespace = '' } = object.metadata;
  return [...new Set(names.flatMap((name) => (name ? [`${namespace}/${name}`] : [])))];
}

function templateName(object: Service | Configuration): string[] {
  return beside(object, [object.spec.template.metadata?.name]);
}

function configurationOf(revision: Revision): string[] {
  return beside(revision, [revision.metadata.labels?.[keys.configuration]]);
}
