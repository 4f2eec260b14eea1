import { isDeepStrictEqual } from 'node:util';
import type { Configuration, Revision, Route, TrafficTarget } from '../../resources/index.ts';
import type { StoreChange } from '../changes.ts';
import { conditionsOf, no, readiness, unknown, yes, type Verdict } from '../conditions.ts';
import { keys } from '../names.ts';
import type { PublishedRoute } from '../ports.ts';
import { addressUrl, labelOf, publicUrl, publishedHosts, type HostNames } from './hosts.ts';

export interface RouteObservation {
  route: Route;
  /** Of the Route's namespace. */
  configuration: (name: string) => Configuration | undefined;
  revision: (name: string) => Revision | undefined;
  /** Name of the Route that a host's first label belongs to. */
  ownerOf: (label: string) => string | undefined;
  names: HostNames;
  /** RFC 3339. */
  now: string;
}

export interface RoutePlan {
  changes: StoreChange[];
  /** What the gateway should have before the changes are carried out. */
  hosts: PublishedRoute[];
  /** The traffic that the status will say. */
  traffic: TrafficTarget[] | undefined;
  /** Whether a host's first label is this Route's. */
  isOwn: (label: string) => boolean;
}

/**
 * Route -> host names, and revisions in place of configurations. While any target can't be resolved, what was served
 * before is served on: traffic moves as a whole or not at all.
 */
export function planRoute(seen: RouteObservation): RoutePlan {
  const { route, names } = seen;
  const targets = route.spec.traffic ?? [];
  const resolved = targets.map((target) => resolve(seen, target));
  const failed =
    resolved.find((r) => 'verdict' in r && r.verdict.status === 'False') ?? resolved.find((r) => 'verdict' in r);
  const sum = targets.reduce((total, t) => total + (t.percent ?? 0), 0);
  const assigned: Verdict =
    failed && 'verdict' in failed
      ? failed.verdict
      : sum === 100
        ? yes
        : no('TrafficInvalid', `Traffic targets sum to ${sum}, want 100: set spec.traffic[*].percent accordingly.`);

  const traffic =
    assigned.status === 'True'
      ? resolved.flatMap((r) => ('traffic' in r ? [r.traffic] : []))
      : (route.status?.traffic ?? undefined);
  const { name } = route.metadata;
  const isOwn = (label: string) => (seen.ownerOf(label) ?? name) === name;
  const hosts = publishedHosts(names, route, traffic ? { traffic } : undefined, isOwn);

  const status: Route['status'] = {
    ...(route.metadata.generation === undefined ? {} : { observedGeneration: route.metadata.generation }),
    conditions: conditionsOf(
      route.status?.conditions,
      {
        AllTrafficAssigned: assigned,
        IngressReady: ingress(seen, traffic ?? [], isOwn),
        CertificateProvisioned: { status: 'True', reason: 'TLSNotEnabled', message: 'autoTLS is not enabled' },
      },
      seen.now,
    ),
    url: publicUrl(names, route),
    address: { url: addressUrl(route) },
    ...(traffic === undefined ? {} : { traffic }),
  };
  const same = isDeepStrictEqual(status, route.status);
  return { changes: same ? [] : [{ do: 'update-status', object: { ...route, status } }], hosts, traffic, isOwn };
}

type Resolved = { traffic: TrafficTarget } | { verdict: Verdict };

function resolve(seen: RouteObservation, target: TrafficTarget): Resolved {
  const configuration = target.configurationName ? seen.configuration(target.configurationName) : undefined;
  if (target.configurationName) {
    const name = target.configurationName;
    if (!configuration) {
      return { verdict: no('ConfigurationMissing', `Configuration "${name}" referenced in traffic not found.`) };
    }
    const latest = configuration.status?.latestReadyRevisionName;
    if (latest !== undefined && seen.revision(latest)) return { traffic: flat(seen, target, latest) };
    return {
      verdict:
        readiness(configuration) === 'False'
          ? no('RevisionMissing', `Configuration "${name}" does not have any ready Revision.`)
          : unknown('RevisionMissing', `Configuration "${name}" is waiting for a Revision to become ready.`),
    };
  }
  return ofRevision(seen, target, target.revisionName ?? '');
}

function ofRevision(seen: RouteObservation, target: TrafficTarget, name: string): Resolved {
  const revision = seen.revision(name);
  if (!revision) return { verdict: no('RevisionMissing', `Revision "${name}" referenced in traffic not found.`) };
  const service = seen.route.metadata.labels?.[keys.service];
  if (service !== undefined && revision.metadata.labels?.[keys.service] !== service) {
    const message = `Revision "${name}" referenced in traffic does not belong to Service "${service}".`;
    return { verdict: no('RevisionNotOwned', message) };
  }
  switch (readiness(revision)) {
    case 'True':
      return { traffic: flat(seen, target, name) };
    case 'False':
      return { verdict: no('RevisionMissing', `Revision "${name}" failed to become ready.`) };
    case 'Unknown':
      return { verdict: unknown('RevisionMissing', `Revision "${name}" is not yet ready.`) };
  }
}

function flat(seen: RouteObservation, target: TrafficTarget, revisionName: string): TrafficTarget {
  return {
    revisionName,
    latestRevision: Boolean(target.configurationName),
    ...(target.percent === undefined ? {} : { percent: target.percent }),
    ...(target.tag ? { tag: target.tag, url: publicUrl(seen.names, seen.route, target.tag) } : {}),
  };
}

function ingress(seen: RouteObservation, traffic: TrafficTarget[], isOwn: (label: string) => boolean): Verdict {
  if (traffic.length === 0) return unknown('IngressNotConfigured', 'Ingress has not yet been reconciled.');
  const { name } = seen.route.metadata;
  const lost = traffic.map((t) => t.tag).find((tag) => tag && !isOwn(labelOf(name, tag)));
  if (!lost) return yes;
  const label = labelOf(name, lost);
  return no(
    'NotOwned',
    `Tag "${lost}" needs the host name "${label}", which belongs to Route "${seen.ownerOf(label)}".`,
  );
}

/** Whose a label is: the Route of that very name, else the oldest claimant. */
export function ownerOfLabel(label: string, claimants: readonly Route[]): string | undefined {
  const age = (r: Route) => `${r.metadata.creationTimestamp ?? ''} ${r.metadata.name}`;
  const owner =
    claimants.find((r) => r.metadata.name === label) ?? [...claimants].sort((a, b) => (age(a) < age(b) ? -1 : 1))[0];
  return owner?.metadata.name;
}
