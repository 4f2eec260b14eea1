import { isDeepStrictEqual } from 'node:util';
import type { Configuration, Revision } from '../../resources/index.ts';
import type { StoreChange } from '../changes.ts';
import { conditionOf, conditionsOf, no, propagated, readiness, unknown, yes, type Verdict } from '../conditions.ts';
import { controlledBy, generationOf, isControlledBy, keys, servingVersion } from '../names.ts';
import { nameConflict, revisionNameOf } from './name.ts';

export interface ConfigurationObservation {
  configuration: Configuration;
  /** Those labelled as its own. */
  revisions: readonly Revision[];
  /** The one that has the name of the present generation's Revision, whoever owns it. */
  named: Revision | undefined;
  /** RFC 3339. */
  now: string;
}

/** Configuration -> a Revision for each of its generations, and which of them is the latest ready one. */
export function planConfiguration(seen: ConfigurationObservation): StoreChange[] {
  const { configuration } = seen;
  const changes: StoreChange[] = [];
  const name = revisionNameOf(configuration);
  const conflict =
    seen.named !== undefined &&
    (!isControlledBy(seen.named, configuration) ||
      nameConflict(configuration.spec.template, seen.named, configuration));
  if (!seen.named)
    changes.push({ do: 'create', object: makeRevision(configuration, name, seen.now), by: configuration });

  const created = conflict ? undefined : seen.named;
  const before = configuration.status?.latestReadyRevisionName;
  const latestReady = conflict ? before : latestReadyOf(seen, created);
  const ready = conflict
    ? no(
        'RevisionFailed',
        `Revision creation failed with message: revisions.serving.knative.dev "${name}" already exists.`,
      )
    : verdictOn(configuration, name, created, latestReady);

  const latestCreated = conflict ? configuration.status?.latestCreatedRevisionName : name;
  const status: Configuration['status'] = {
    ...(configuration.metadata.generation === undefined
      ? {}
      : { observedGeneration: configuration.metadata.generation }),
    // Ready is a Configuration's only condition: `conditionsOf` derives it from the one verdict, which is then dropped.
    conditions: conditionsOf(configuration.status?.conditions, { Revision: ready }, seen.now).filter(
      (c) => c.type === 'Ready',
    ),
    ...(latestCreated === undefined ? {} : { latestCreatedRevisionName: latestCreated }),
    ...(latestReady === undefined ? {} : { latestReadyRevisionName: latestReady }),
  };
  if (isDeepStrictEqual(status, configuration.status)) return changes;
  changes.push({ do: 'update-status', object: { ...configuration, status } });
  return [...changes, ...eventsOf(configuration, status)];
}

function makeRevision(configuration: Configuration, name: string, now: string): Revision {
  const { template } = configuration.spec;
  const { namespace, uid = '', generation = 1, labels = {}, annotations = {} } = configuration.metadata;
  const copied = Object.entries({
    [keys.service]: labels[keys.service],
    [keys.serviceUID]: labels[keys.serviceUID],
  }).filter((e): e is [string, string] => e[1] !== undefined);
  const creator = annotations[keys.lastModifier] ?? annotations[keys.creator];
  return {
    apiVersion: servingVersion,
    kind: 'Revision',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      labels: {
        ...template.metadata?.labels,
        ...Object.fromEntries(copied),
        [keys.configuration]: configuration.metadata.name,
        [keys.configurationUID]: uid,
        [keys.configurationGeneration]: String(generation),
        [keys.routingState]: 'pending',
      },
      annotations: {
        ...template.metadata?.annotations,
        ...(creator === undefined ? {} : { [keys.creator]: creator }),
        [keys.routingStateModified]: now,
      },
      ownerReferences: controlledBy(configuration),
    },
    spec: template.spec,
  };
}

/**
 * The latest created one as soon as it is ready. Until then the newest ready one that isn't older than the present
 * choice, which stays even if it isn't ready any more: what traffic has is never taken away for nothing.
 */
function latestReadyOf(seen: ConfigurationObservation, created: Revision | undefined): string | undefined {
  if (created && readiness(created) === 'True') return created.metadata.name;
  const own = seen.revisions.filter((r) => isControlledBy(r, seen.configuration) && !r.metadata.deletionTimestamp);
  const present = own.find((r) => r.metadata.name === seen.configuration.status?.latestReadyRevisionName);
  const newest = own
    .filter((r) => readiness(r) === 'True' && generationOf(r) > (present ? generationOf(present) : -1))
    .sort((a, b) => generationOf(b) - generationOf(a))[0];
  return (newest ?? present)?.metadata.name;
}

function verdictOn(
  configuration: Configuration,
  name: string,
  created: Revision | undefined,
  latestReady: string | undefined,
): Verdict {
  const ready = conditionOf(created, 'Ready');
  if (ready?.status === 'True') return yes;
  if (ready?.status === 'False') {
    return no(
      'RevisionFailed',
      `Revision "${name}" failed with message: ${(ready.message ?? ready.reason ?? '').replace(/\.$/, '')}.`,
    );
  }
  if (latestReady === undefined) {
    const before = configuration.status?.latestReadyRevisionName;
    const stored = conditionOf(configuration, 'Ready');
    if (before !== undefined) return no('RevisionDeleted', `Revision "${before}" was deleted.`);
    // Until another one is ready, that remains the reason why nothing is served.
    if (stored?.reason === 'RevisionDeleted') return propagated(stored);
  }
  return ready ? propagated(ready) : unknown('Deploying', `Revision "${name}" has just been created.`);
}

function eventsOf(configuration: Configuration, status: NonNullable<Configuration['status']>): StoreChange[] {
  const events: StoreChange[] = [];
  const { latestReadyRevisionName: latest } = status;
  const before = configuration.status?.latestReadyRevisionName;
  if (latest !== undefined && latest !== before) {
    const event = { do: 'event', about: configuration, type: 'Normal' } as const;
    if (before === undefined)
      events.push({ ...event, reason: 'ConfigurationReady', message: 'Configuration becomes ready' });
    events.push({ ...event, reason: 'LatestReadyUpdate', message: `LatestReadyRevisionName updated to "${latest}"` });
  }
  if (readiness({ status }) === 'False' && readiness(configuration) !== 'False') {
    const message = conditionOf({ status }, 'Ready')?.message ?? 'Latest created revision has failed';
    events.push({ do: 'event', about: configuration, type: 'Warning', reason: 'LatestCreatedFailed', message });
  }
  return events;
}
