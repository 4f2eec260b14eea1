import { isDeepStrictEqual } from 'node:util';
import type { Configuration, Revision, Route, Service, TrafficTarget } from '../../resources/index.ts';
import type { StoreChange } from '../changes.ts';
import { conditionOf, conditionsOf, no, propagated, unknown, yes, type Verdict } from '../conditions.ts';
import { nameConflict } from '../configuration/name.ts';
import { controlledBy, isControlledBy, keys, servingVersion, without } from '../names.ts';

export interface ServiceObservation {
  service: Service;
  /** The Configuration and the Route of the Service's name, whoever owns them. */
  configuration: Configuration | undefined;
  route: Route | undefined;
  /** The Revision named by `spec.template.metadata.name`, if any. */
  named: Revision | undefined;
  /** RFC 3339. */
  now: string;
}

/** Service -> one Configuration and one Route of its name, and a status that sums up theirs. */
export function planService(seen: ServiceObservation): StoreChange[] {
  const { service, configuration, route } = seen;
  const changes: StoreChange[] = [];
  const taken = nameConflict(service.spec.template, seen.named, configuration);

  const ownsConfiguration = !configuration || isControlledBy(configuration, service);
  if (ownsConfiguration && !taken) {
    const wanted = makeConfiguration(service, configuration);
    if (!configuration) changes.push({ do: 'create', object: wanted, by: service });
    else if (!isDeepStrictEqual(configuration, wanted)) changes.push({ do: 'update', object: wanted });
  }
  const ownsRoute = !route || isControlledBy(route, service);
  if (ownsRoute) {
    const wanted = makeRoute(service, route);
    if (!route) changes.push({ do: 'create', object: wanted, by: service });
    else if (!isDeepStrictEqual(route, wanted)) changes.push({ do: 'update', object: wanted });
  }

  const outdated = changes.length > 0;
  const ConfigurationsReady = ownsConfiguration ? ofConfiguration(configuration) : notOwned('Configuration', service);
  const RoutesReady = taken
    ? no(
        'RevisionNameTaken',
        `The revision name "${service.spec.template.metadata?.name ?? ''}" is taken by a conflicting Revision, so traffic will not be migrated`,
      )
    : ownsRoute
      ? ofRoute(route, configuration)
      : notOwned('Route', service);
  // What is about to be written has not been acted on, whatever the old object says.
  const pending = (v: Verdict, kind: string) => (outdated && v.status === 'True' ? outOfDate(kind) : v);
  const status: Service['status'] = {
    ...(service.metadata.generation === undefined ? {} : { observedGeneration: service.metadata.generation }),
    conditions: conditionsOf(
      service.status?.conditions,
      {
        ConfigurationsReady: pending(ConfigurationsReady, 'Configuration'),
        RoutesReady: pending(RoutesReady, 'Route'),
      },
      seen.now,
    ),
    ...(ownsConfiguration ? configurationFields(configuration) : {}),
    ...(ownsRoute ? routeFields(route) : {}),
  };
  if (!isDeepStrictEqual(status, service.status)) {
    changes.push({ do: 'update-status', object: { ...service, status } });
  }
  return changes;
}

function makeConfiguration(service: Service, existing: Configuration | undefined): Configuration {
  return {
    ...(existing ?? { apiVersion: servingVersion, kind: 'Configuration' }),
    metadata: {
      ...(existing?.metadata ?? own(service)),
      labels: labelsFor(service),
      annotations: without(service.metadata.annotations, keys.lastApplied, keys.rolloutDuration),
    },
    spec: { template: service.spec.template },
  };
}

function makeRoute(service: Service, existing: Route | undefined): Route {
  return {
    ...(existing ?? { apiVersion: servingVersion, kind: 'Route' }),
    metadata: {
      ...(existing?.metadata ?? own(service)),
      labels: labelsFor(service),
      annotations: without(service.metadata.annotations, keys.lastApplied),
    },
    spec: { traffic: trafficOf(service) },
  };
}

function own(service: Service): Route['metadata'] {
  const { name, namespace } = service.metadata;
  return { name, ...(namespace === undefined ? {} : { namespace }), ownerReferences: controlledBy(service) };
}

function labelsFor(service: Service): Record<string, string> {
  const { labels, name, uid = '' } = service.metadata;
  return { ...labels, [keys.service]: name, [keys.serviceUID]: uid };
}

/** The Service's traffic with the Configuration in place of "the latest revision"; all to the latest if it says nothing. */
function trafficOf(service: Service): TrafficTarget[] {
  const traffic = service.spec.traffic ?? [];
  if (traffic.length === 0) {
    return [{ configurationName: service.metadata.name, latestRevision: true, percent: 100 }];
  }
  return traffic.map((target) => {
    const { revisionName, tag, percent } = target;
    return {
      ...(revisionName ? { revisionName } : { configurationName: service.metadata.name }),
      latestRevision: !revisionName,
      ...(percent === undefined ? {} : { percent }),
      ...(tag ? { tag } : {}),
    };
  });
}

function notOwned(kind: string, service: Service): Verdict {
  return no('NotOwned', `There is an existing ${kind} "${service.metadata.name}" that we do not own.`);
}

function outOfDate(kind: string): Verdict {
  return unknown('OutOfDate', `The ${kind} is still working to reflect the latest desired specification.`);
}

function ofConfiguration(configuration: Configuration | undefined): Verdict {
  const ready = conditionOf(configuration, 'Ready');
  const observed = configuration?.status?.observedGeneration === configuration?.metadata.generation;
  return ready && observed ? propagated(ready) : outOfDate('Configuration');
}

function ofRoute(route: Route | undefined, configuration: Configuration | undefined): Verdict {
  const ready = conditionOf(route, 'Ready');
  if (!route || !ready || route.status?.observedGeneration !== route.metadata.generation) return outOfDate('Route');
  if (ready.status !== 'True') return propagated(ready);
  return isMigrated(route, configuration)
    ? yes
    : unknown('TrafficNotMigrated', 'Traffic is not yet migrated to the latest revision.');
}

/** Whether the Route already serves the Configuration's latest ready revision wherever it should. */
function isMigrated(route: Route, configuration: Configuration | undefined): boolean {
  const wanted = route.spec.traffic ?? [];
  const got = route.status?.traffic ?? [];
  return (
    wanted.length === got.length &&
    wanted.every((target, i) => {
      const revision = target.revisionName ?? configuration?.status?.latestReadyRevisionName;
      return got[i]?.revisionName === revision && (got[i]?.percent ?? 0) === (target.percent ?? 0);
    })
  );
}

function configurationFields(configuration: Configuration | undefined): Partial<NonNullable<Service['status']>> {
  const { latestCreatedRevisionName, latestReadyRevisionName } = configuration?.status ?? {};
  return {
    ...(latestCreatedRevisionName === undefined ? {} : { latestCreatedRevisionName }),
    ...(latestReadyRevisionName === undefined ? {} : { latestReadyRevisionName }),
  };
}

function routeFields(route: Route | undefined): Partial<NonNullable<Service['status']>> {
  const { url, address, traffic } = route?.status ?? {};
  return {
    ...(url === undefined ? {} : { url }),
    ...(address === undefined ? {} : { address }),
    ...(traffic === undefined ? {} : { traffic }),
  };
}
