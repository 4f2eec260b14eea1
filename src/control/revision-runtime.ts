import type { Autoscaler } from '../autoscaler/driver.ts';
import { settingsOf, type AutoscalerDefaults } from '../autoscaler/settings.ts';
import type { RevisionRuntime, RuntimeView } from '../controllers/ports.ts';
import type { Engine, EngineEvent, ExitReport, Instance, Workload, WorkloadKey } from '../engine/engine.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { referencesOf, type ObjectReference, type Revision } from '../resources/index.ts';
import type { GatewayTable } from './gateway-table.ts';
import { keyOf, revisionEntryOf, workloadOf } from './workload.ts';

/**
 * Starts that must fail in a row, with nothing ready, before waiting requests are turned away: the first may be an
 * accident, and its replacement is only a second off.
 */
const failuresUntilRefusal = 2;

interface Known {
  revision: Revision;
  failure: { exit: ExitReport; failures: number } | undefined;
  everReady: boolean;
}

export interface BoundRuntime extends RevisionRuntime, Disposable {
  /** Tells the gateway's table of the instances that were adopted, before any controller has spoken of their revision. */
  announceAdopted(): void;
  /** A Secret or ConfigMap has changed: what refers to it is renewed, or tried again. */
  referenceChanged(namespace: string, reference: ObjectReference): void;
  /** What a deployed revision runs as; undefined for others. */
  workload(key: WorkloadKey): Workload | undefined;
}

/**
 * Binds the controllers' port to the engine, the autoscaler and the gateway's table: what the engine reports becomes
 * what the gateway may send to, what the autoscaler counts, and what the Revision's conditions say.
 */
export function createRevisionRuntime(deps: {
  engine: Engine;
  autoscaler: Autoscaler;
  table: GatewayTable;
  defaults: AutoscalerDefaults;
  logger: Logger;
}): BoundRuntime {
  const known = new Map<WorkloadKey, Known>();
  const listeners = new Set<(namespace: string, name: string) => void>();
  const referenceListeners = new Set<(namespace: string, name: string) => void>();
  /** Revisions by what they refer to, as `namespace/kind/name`: from the first try to prepare them until they retire. */
  const referrers = new Map<string, Set<WorkloadKey>>();

  const instancesOf = (key: WorkloadKey) => deps.engine.instances(key);
  const count = (all: Instance[], state: Instance['status']['state']) =>
    all.filter((i) => i.status.state === state).length;

  function publishRevision(entry: Known): void {
    const { failure } = entry;
    const key = keyOf(entry.revision);
    const hopeless = failure && failure.failures >= failuresUntilRefusal && count(instancesOf(key), 'ready') === 0;
    deps.table.setRevision(
      revisionEntryOf(
        entry.revision,
        hopeless ? `revision ${entry.revision.metadata.name} cannot start: ${failure.exit.message}` : undefined,
      ),
    );
  }

  function onEngine(event: EngineEvent): void {
    const key = event.type === 'failing' ? event.workload : event.instance.workload;
    const entry = known.get(key);
    if (event.type === 'failing') {
      if (entry) entry.failure = { exit: event.exit, failures: event.failures };
    } else {
      announce(event, deps.table);
      if (event.type === 'instance' && event.instance.status.state === 'ready' && entry) {
        entry.everReady = true;
        entry.failure = undefined;
      }
    }
    if (!entry) return;
    publishRevision(entry);
    const all = instancesOf(key);
    deps.autoscaler.observed(key, { ready: count(all, 'ready'), starting: count(all, 'starting') });
    tell(listeners, key);
  }

  async function renew(key: WorkloadKey): Promise<void> {
    const renewed = await deps.engine.renew(key);
    const entry = known.get(key);
    if (!renewed || !entry?.failure) return;
    // It may work now: requests are let in again.
    entry.failure = undefined;
    publishRevision(entry);
    tell(listeners, key);
  }

  const subscription = deps.engine.on(onEngine);

  return {
    prepare(revision, options) {
      const { namespace = 'default' } = revision.metadata;
      for (const { kind, name } of referencesOf(revision.spec)) {
        const at = `${namespace}/${kind}/${name}`;
        referrers.set(at, (referrers.get(at) ?? new Set()).add(keyOf(revision)));
      }
      const preparing = deps.engine.prepare(workloadOf(revision), options);
      // After a restart requests may come for what was fine before: they are told, and do not wait for it.
      preparing.catch((error: unknown) => {
        if (options.signal.aborted || count(instancesOf(keyOf(revision)), 'ready') > 0) return;
        const why = `revision ${revision.metadata.name} cannot start: ${messageOf(error)}`;
        deps.table.setRevision(revisionEntryOf(revision, why));
      });
      return preparing;
    },
    referenceChanged(namespace, { kind, name }) {
      for (const key of referrers.get(`${namespace}/${kind}/${name}`) ?? []) {
        tell(referenceListeners, key);
        renew(key).catch((error: unknown) =>
          deps.logger.warn({ revision: key, error: messageOf(error) }, 'cannot renew its standbys'),
        );
      }
    },
    deploy(revision, options) {
      const key = keyOf(revision);
      const before = known.get(key);
      const entry: Known = {
        revision,
        failure: before?.failure,
        everReady: before?.everReady ?? count(instancesOf(key), 'ready') > 0,
      };
      known.set(key, entry);
      publishRevision(entry);
      for (const instance of instancesOf(key)) announce({ type: 'instance', instance }, deps.table);
      const { containerConcurrency } = revision.spec;
      const settings = settingsOf(revision.metadata.annotations ?? {}, { containerConcurrency }, deps.defaults);
      const running = instancesOf(key);
      deps.autoscaler.upsert(key, settings, {
        reachable: options.reachable,
        initialDone: options.initialDone,
        ready: count(running, 'ready'),
        starting: count(running, 'starting'),
      });
    },
    async retire(namespace, name) {
      const key: WorkloadKey = `${namespace}/${name}`;
      known.delete(key);
      for (const [at, keys] of referrers) if (keys.delete(key) && keys.size === 0) referrers.delete(at);
      deps.autoscaler.remove(key);
      await deps.engine.remove(key);
      deps.table.removeRevision(key);
    },
    observe(namespace, name): RuntimeView {
      const key: WorkloadKey = `${namespace}/${name}`;
      const all = instancesOf(key);
      const entry = known.get(key);
      const failure = entry?.failure;
      return {
        ready: count(all, 'ready'),
        starting: count(all, 'starting'),
        standby: count(all, 'standby'),
        desired: deps.autoscaler.describe(key)?.desired ?? 0,
        everReady: entry?.everReady ?? false,
        ...(failure
          ? {
              failure: {
                code: failure.exit.code,
                reason: failure.exit.reason,
                message: failure.exit.message,
                lastLogLines: failure.exit.lastLogLines,
                failures: failure.failures,
              },
            }
          : {}),
      };
    },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    onReferenceChange(listener) {
      referenceListeners.add(listener);
      return { [Symbol.dispose]: () => void referenceListeners.delete(listener) };
    },
    announceAdopted() {
      for (const instance of deps.engine.instances()) announce({ type: 'instance', instance }, deps.table);
    },
    workload(key) {
      const entry = known.get(key);
      return entry && workloadOf(entry.revision);
    },
    [Symbol.dispose]: () => subscription[Symbol.dispose](),
  };
}

function tell(listeners: Iterable<(namespace: string, name: string) => void>, key: WorkloadKey): void {
  const [namespace = '', name = ''] = key.split('/');
  for (const listener of listeners) listener(namespace, name);
}

/** Tells the gateway of an instance: it may get requests only while ready. */
function announce(event: Extract<EngineEvent, { instance: Instance }>, table: GatewayTable): void {
  const { id, workload, address, status } = event.instance;
  const visible = event.type === 'instance' && address && (status.state === 'ready' || status.state === 'draining');
  if (visible)
    table.setInstance({
      id,
      revision: workload,
      host: address.host,
      port: address.port,
      state: status.state === 'ready' ? 'ready' : 'draining',
    });
  else table.removeInstance(id);
}
