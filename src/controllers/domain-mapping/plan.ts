import { isDeepStrictEqual } from 'node:util';
import type { DomainMapping, Route } from '../../resources/index.ts';
import type { StoreChange } from '../changes.ts';
import { conditionsOf, no, unknown, yes, type Verdict } from '../conditions.ts';
import { servingGroup } from '../names.ts';
import type { PublishedRoute } from '../ports.ts';
import { clusterHost, type HostNames } from '../route/hosts.ts';

export interface DomainMappingObservation {
  mapping: DomainMapping;
  /** All mappings of this very domain, in every namespace. */
  claimants: readonly DomainMapping[];
  /** The Route to which the referent's name belongs, by itself or as one of its tags. */
  route: Route | undefined;
  /** What the gateway has of that Route. */
  hosts: readonly PublishedRoute[];
  names: HostNames;
  /** RFC 3339. */
  now: string;
}

export interface DomainMappingPlan {
  changes: StoreChange[];
  /** What the gateway should have of this domain before the changes are carried out. */
  hosts: PublishedRoute[];
}

/** DomainMapping -> a host that is served as its referent's own host is, for the first who claims the domain. */
export function planDomainMapping(seen: DomainMappingObservation): DomainMappingPlan {
  const { mapping, names } = seen;
  const { name, generation } = mapping.metadata;
  const claimed = claim(seen);
  const resolved = resolve(seen);
  const target = seen.hosts.find(
    (h) => h.host === clusterHost(mapping.metadata.namespace ?? '', mapping.spec.ref.name),
  );
  const served = claimed.status === 'True' && resolved.status === 'True' && target !== undefined;
  const url = `http://${name}${names.port === undefined || names.port === 80 ? '' : `:${names.port}`}`;
  const status: DomainMapping['status'] = {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    conditions: conditionsOf(
      mapping.status?.conditions,
      {
        DomainClaimed: claimed,
        ReferenceResolved: resolved,
        IngressReady: served ? yes : unknown('IngressNotConfigured', 'Ingress has not yet been reconciled.'),
        CertificateProvisioned: { status: 'True', reason: 'TLSNotEnabled', message: 'autoTLS is not enabled' },
      },
      seen.now,
    ),
    url,
    address: { url },
  };
  const same = isDeepStrictEqual(status, mapping.status);
  return {
    changes: same ? [] : [{ do: 'update-status', object: { ...mapping, status } }],
    hosts: served ? [{ ...target, host: name }] : [],
  };
}

/** The oldest mapping has the domain, and when it goes, the next. Hosts of Routes are never anybody's domain. */
function claim({ mapping, claimants, names }: DomainMappingObservation): Verdict {
  const { name } = mapping.metadata;
  const domain = `.${names.domain}`;
  if (name.endsWith(domain) && name.slice(0, -domain.length).split('.').length === 2) {
    return no('DomainClaimFailed', `The domain "${name}" is one of those that Routes are given: choose another.`);
  }
  const age = ({ metadata: m }: DomainMapping) => `${m.creationTimestamp ?? ''} ${m.namespace ?? ''}`;
  const first = claimants.every((other) => age(mapping) <= age(other));
  return first ? yes : no('DomainAlreadyClaimed', `The domain name "${name}" is already in use.`);
}

function resolve({ mapping, route }: DomainMappingObservation): Verdict {
  const { apiVersion = '', kind, name } = mapping.spec.ref;
  const [group = ''] = apiVersion.includes('/') ? apiVersion.split('/') : [];
  const plural = `${kind.toLowerCase()}s${group === '' ? '' : `.${group}`}`;
  const known =
    kind === 'Service' ? group === servingGroup || group === '' : kind === 'Route' && group === servingGroup;
  if (!known) return no('ResolveFailed', `${plural} "${name}" has no address: refer to a Service or a Route.`);
  // Only the name inside the cluster may be a tag's.
  const found = route && (group === '' || route.metadata.name === name);
  return found
    ? yes
    : no(
        'ResolveFailed',
        `failed to get object ${mapping.metadata.namespace ?? ''}/${name}: ${plural} "${name}" not found`,
      );
}
