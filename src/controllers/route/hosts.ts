import type { Route } from '../../resources/index.ts';
import { keys } from '../names.ts';
import type { PublishedRoute } from '../ports.ts';

/** How hosts and URLs are made: Knative's default domain and tag templates. */
export interface HostNames {
  /** `localhost`: hosts are `NAME.NAMESPACE.localhost`. */
  domain: string;
  /** Shown in URLs; undefined or 80 is not. */
  port: number | undefined;
}

const clusterDomain = 'svc.cluster.local';

/** The first label of a Route's host, or of that of one of its tags. Labels of a namespace belong to one Route each. */
export function labelOf(route: string, tag?: string): string {
  return tag ? `${tag}-${route}` : route;
}

/** Every first label that a Route lays claim to. */
export function labelsOf(route: Route): string[] {
  const { name } = route.metadata;
  const tags = [...(route.spec.traffic ?? []), ...(route.status?.traffic ?? [])].map((t) => t.tag);
  return [...new Set([name, ...tags.filter((t) => t).map((t) => labelOf(name, t))])];
}

export function publicUrl(names: HostNames, route: Route, tag?: string): string {
  const port = names.port === undefined || names.port === 80 || isLocal(route) ? '' : `:${names.port}`;
  return `http://${hostOf(names, route, labelOf(route.metadata.name, tag))}${port}`;
}

/** The host of a label of a Route, as far as it can be seen. */
export function hostOf(names: HostNames, route: Route, label: string): string {
  return `${label}.${route.metadata.namespace ?? ''}.${isLocal(route) ? clusterDomain : names.domain}`;
}

export function addressUrl(route: Route): string {
  return `http://${clusterHost(route.metadata.namespace ?? '', route.metadata.name)}`;
}

/** The host of a label inside the cluster. */
export function clusterHost(namespace: string, label: string): string {
  return `${label}.${namespace}.${clusterDomain}`;
}

/**
 * What the gateway should know of a Route, from the traffic in its status: nothing until there is some. Tags whose label
 * belongs to another Route (`isOwn` says no) are left out.
 */
export function publishedHosts(
  names: HostNames,
  route: Route,
  traffic: Route['status'],
  isOwn: (label: string) => boolean,
): PublishedRoute[] {
  const { name, namespace = '' } = route.metadata;
  const split = new Map<string, number>();
  const tags = new Map<string, string>();
  for (const { revisionName, percent = 0, tag } of traffic?.traffic ?? []) {
    if (!revisionName) continue;
    const revision = `${namespace}/${revisionName}`;
    if (percent > 0) split.set(revision, (split.get(revision) ?? 0) + percent);
    if (tag) tags.set(labelOf(name, tag), revision);
  }
  const hosts = (label: string, targets: PublishedRoute['targets']): PublishedRoute[] => {
    const domains = isLocal(route) ? [clusterDomain] : [names.domain, clusterDomain];
    return domains.map((d) => ({ host: `${label}.${namespace}.${d}`.toLowerCase(), namespace, route: name, targets }));
  };
  const targets = [...split].map(([revision, percent]) => ({ revision, percent }));
  return [
    ...(targets.length > 0 ? hosts(name, targets) : []),
    ...[...tags]
      .filter(([label]) => isOwn(label))
      .flatMap(([label, revision]) => hosts(label, [{ revision, percent: 100 }])),
  ];
}

function isLocal(route: Route): boolean {
  return route.metadata.labels?.[keys.visibility] === 'cluster-local';
}
