import { isDeepStrictEqual } from 'node:util';
import type { CoreService, Route } from '../../resources/index.ts';
import { controlledBy, isControlledBy, keys, without } from '../names.ts';
import { hostOf, labelOf, type HostNames } from './hosts.ts';

export type PlaceholderChange =
  { do: 'create'; object: CoreService } | { do: 'update'; object: CoreService } | { do: 'delete'; object: CoreService };

export interface PlaceholderObservation {
  /** As it is stored: the tags of its status are those that may have a placeholder. */
  route: Route;
  /** The traffic that the Route is about to have. */
  traffic: NonNullable<Route['status']>['traffic'];
  isOwn: (label: string) => boolean;
  names: HostNames;
  /** The core Service of a name in the Route's namespace. */
  existing: (name: string) => CoreService | undefined;
}

/** Every name that a placeholder of this Route may have, now or soon. */
export function placeholderNames({ route, traffic }: Pick<PlaceholderObservation, 'route' | 'traffic'>): string[] {
  const { name } = route.metadata;
  const tags = [...(route.status?.traffic ?? []), ...(traffic ?? [])].flatMap(({ tag }) => tag || []);
  return [name, ...new Set(tags.map((tag) => labelOf(name, tag)))];
}

/**
 * One core Service for the Route and one for each tag, with the Route's labels and annotations, as in Knative: names
 * inside the cluster, which tools look for. To be carried out before the Route's status changes, because that is where
 * the tags are known from whose placeholders have to go.
 */
export function planPlaceholders(seen: PlaceholderObservation): PlaceholderChange[] {
  const { route, traffic, isOwn } = seen;
  const { name } = route.metadata;
  const tags = new Set((traffic ?? []).flatMap(({ tag }) => tag || []));
  const wanted = new Set([name, ...[...tags].map((tag) => labelOf(name, tag)).filter(isOwn)]);
  return placeholderNames(seen).flatMap((label): PlaceholderChange[] => {
    const existing = seen.existing(label);
    if (!wanted.has(label))
      return existing && isControlledBy(existing, route) ? [{ do: 'delete', object: existing }] : [];
    const object = makePlaceholder(seen, label, existing);
    if (!existing) return [{ do: 'create', object }];
    return isDeepStrictEqual(existing, object) ? [] : [{ do: 'update', object }];
  });
}

/** An existing one may be another Route's, which had a tag of that label before this Route was there: it changes hands. */
function makePlaceholder({ route, names }: PlaceholderObservation, label: string, existing?: CoreService): CoreService {
  const { namespace, name, labels, annotations } = route.metadata;
  return {
    ...(existing ?? { apiVersion: 'v1', kind: 'Service' }),
    metadata: {
      ...(existing?.metadata ?? { name: label, ...(namespace === undefined ? {} : { namespace }) }),
      ownerReferences: controlledBy(route),
      labels: { ...labels, [keys.route]: name },
      annotations: without(annotations, keys.lastApplied),
    },
    spec: {
      type: 'ExternalName',
      externalName: hostOf(names, route, label),
      sessionAffinity: 'None',
      ports: [{ name: 'http2', protocol: 'TCP', port: 80, targetPort: 80 }],
    },
  };
}
