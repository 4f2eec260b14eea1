import { timestamp, type DomainMapping } from '../../resources/index.ts';
import { carryOut } from '../changes.ts';
import type { Context } from '../context.ts';
import { keyOf } from '../informer.ts';
import { publishedHostsOf, routeOfLabel } from '../route/reconcile.ts';
import { planDomainMapping, type DomainMappingPlan } from './plan.ts';

/** Under which the gateway knows the host of a mapping: never a Route's own key, which has one slash. */
export const ownerOfMapping = (key: string) => `DomainMapping/${key}`;

/** Makes one DomainMapping (`namespace/name`) so: the gateway first, then the status that says it. */
export async function reconcileDomainMapping(context: Context, key: string): Promise<undefined> {
  const mapping = context.caches.DomainMapping.at(key);
  if (!mapping || mapping.metadata.deletionTimestamp) {
    context.publisher.publish(ownerOfMapping(key), []);
    return;
  }
  const { changes, hosts } = planOf(context, mapping);
  context.publisher.publish(ownerOfMapping(key), hosts);
  await carryOut(changes, context);
}

/** What is stored, for the gateway to go on with before anything is reconciled. */
export function publishStoredMappings(context: Context): void {
  for (const mapping of context.caches.DomainMapping.all()) {
    context.publisher.publish(ownerOfMapping(keyOf(mapping)), planOf(context, mapping).hosts);
  }
}

function planOf(context: Context, mapping: DomainMapping): DomainMappingPlan {
  const { caches, clock, names } = context;
  const { namespace = '', name } = mapping.metadata;
  const route = routeOfLabel(context, namespace, mapping.spec.ref.name);
  return planDomainMapping({
    mapping,
    claimants: caches.DomainMapping.by('domain', name),
    route,
    hosts: route ? publishedHostsOf(context, route) : [],
    names,
    now: timestamp(clock.now()),
  });
}
