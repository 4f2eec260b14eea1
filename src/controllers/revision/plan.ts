import { isDeepStrictEqual } from 'node:util';
import type { Condition, Revision } from '../../resources/index.ts';
import type { StoreChange } from '../changes.ts';
import { conditionOf, conditionsOf, propagated, readiness } from '../conditions.ts';
import { keys } from '../names.ts';
import type { DeployOptions, RuntimeView } from '../ports.ts';
import type { Preparation } from './preparations.ts';
import { verdictsOn } from './verdicts.ts';

export interface RevisionObservation {
  revision: Revision;
  view: RuntimeView;
  preparation: Preparation;
  /** How this process last gave it to the runtime; until it has, `view` doesn't speak of it. */
  deployed: DeployOptions | undefined;
  /** Routes that serve it now, sorted. */
  servedBy: readonly string[];
  /** A Route wants it: by name, or through a Configuration of which it is the latest created. */
  awaited: boolean;
  /** The progress deadline has passed since it was deployed. */
  overdue: boolean;
  /** RFC 3339. */
  now: string;
}

export type RoutingState = 'pending' | 'active' | 'reserve';

export type RevisionChange = StoreChange | { do: 'prepare' } | { do: 'deploy'; options: DeployOptions };

/** Revision -> prepared, scaled and told about; with the routing state that says whether any of it is still needed. */
export function planRevision(seen: RevisionObservation): RevisionChange[] {
  const { revision, view } = seen;
  const changes: RevisionChange[] = [];
  const routing = routingStateOf(seen);
  const labelled = withRouting(revision, routing, seen);
  if (labelled !== revision) changes.push({ do: 'update', object: labelled });

  // What nothing leads to is left alone, unless something of it still runs and has to be scaled down.
  const running = seen.deployed !== undefined || view.ready + view.starting + view.standby > 0;
  const needed = routing !== 'reserve' || running;
  const initialDone = isInitialDone(seen);
  if (needed && seen.preparation.state === 'none') changes.push({ do: 'prepare' });
  const options: DeployOptions = { reachable: routing !== 'reserve', initialDone };
  if (needed && seen.preparation.state === 'prepared' && !isDeepStrictEqual(seen.deployed, options)) {
    changes.push({ do: 'deploy', options });
  }
  // The runtime's word is the whole truth once it has been given the revision, or never needs to be.
  const live = seen.deployed !== undefined || !needed;

  const verdicts = verdictsOn(seen, { initialDone, live, image: imageOf(revision) });
  const conditions = conditionsOf(revision.status?.conditions, verdicts, seen.now);
  const replicas = live ? { actualReplicas: view.ready, desiredReplicas: view.desired } : replicasOf(revision.status);
  const containerStatuses = containerStatusesOf(seen);
  const status: Revision['status'] = {
    ...(revision.metadata.generation === undefined ? {} : { observedGeneration: revision.metadata.generation }),
    conditions,
    ...(containerStatuses === undefined ? {} : { containerStatuses }),
    ...replicas,
  };
  if (isDeepStrictEqual(status, revision.status)) return changes;
  changes.push({ do: 'update-status', object: { ...labelled, status } });
  return [...changes, ...eventsOf(revision, conditions)];
}

/**
 * Knative's routing state. `active`: a Route serves it. `pending`: new, or wanted by a Route that waits until it is ready.
 * `reserve`: kept, but nothing runs. A new revision that was overtaken before it was decided may still become ready.
 */
export function routingStateOf(seen: Pick<RevisionObservation, 'revision' | 'servedBy' | 'awaited'>): RoutingState {
  if (seen.servedBy.length > 0) return 'active';
  const ready = readiness(seen.revision);
  const before = seen.revision.metadata.labels?.[keys.routingState] ?? 'pending';
  if (seen.awaited && (before === 'pending' || ready !== 'True')) return 'pending';
  return before === 'pending' && ready === 'Unknown' ? 'pending' : 'reserve';
}

function withRouting(revision: Revision, state: RoutingState, seen: RevisionObservation): Revision {
  const { labels = {}, annotations = {} } = revision.metadata;
  const routes = seen.servedBy.join(',');
  if (labels[keys.routingState] === state && (annotations[keys.routes] ?? '') === routes) return revision;
  const { [keys.routes]: _routes, ...others } = annotations;
  const moved = labels[keys.routingState] !== state;
  return {
    ...revision,
    metadata: {
      ...revision.metadata,
      labels: { ...labels, [keys.routingState]: state },
      annotations: {
        ...others,
        ...(routes ? { [keys.routes]: routes } : {}),
        ...(moved ? { [keys.routingStateModified]: seen.now } : {}),
      },
    },
  };
}

/** Whether the initial scale was ever reached: once true, true for good. */
function isInitialDone(seen: RevisionObservation): boolean {
  if (seen.view.ready > 0 || seen.view.everReady) return true;
  if (conditionOf(seen.revision, 'ResourcesAvailable')?.status === 'True') return true;
  const { annotations = {} } = seen.revision.metadata;
  const initial =
    annotations['autoscaling.knative.dev/initial-scale'] ?? annotations['autoscaling.knative.dev/initialScale'];
  return initial === '0' && seen.preparation.state === 'prepared';
}

function imageOf(revision: Revision): string {
  return revision.spec.containers.map((c) => c.image).join('", "');
}

type Status = NonNullable<Revision['status']>;

function replicasOf(status: Status | undefined): Pick<Status, 'actualReplicas' | 'desiredReplicas'> {
  const { actualReplicas = 0, desiredReplicas = 0 } = status ?? {};
  return { actualReplicas, desiredReplicas };
}

/** Digests are resolved once: what the status holds already stays. */
function containerStatusesOf(seen: RevisionObservation): Status['containerStatuses'] {
  const resolved = seen.revision.status?.containerStatuses;
  if (resolved && resolved.length > 0) return resolved;
  if (seen.preparation.state !== 'prepared') return undefined;
  return seen.preparation.images.map(({ name, digest }) => ({ name, imageDigest: digest }));
}

function eventsOf(revision: Revision, conditions: Condition[]): StoreChange[] {
  const before = readiness(revision);
  const ready = conditions.find((c) => c.type === 'Ready');
  if (!ready || ready.status === before) return [];
  if (ready.status === 'True') {
    const message = 'Revision becomes ready upon all resources being ready';
    return [{ do: 'event', about: revision, type: 'Normal', reason: 'RevisionReady', message }];
  }
  if (ready.status === 'Unknown') return [];
  const { reason = 'RevisionFailed', message = 'Revision failed' } = propagated(ready);
  return [{ do: 'event', about: revision, type: 'Warning', reason, message }];
}
