import { timestamp, type CoreService, type Route } from '../../resources/index.ts';
import { carryOut } from '../changes.ts';
import type { Context } from '../context.ts';
import { keyOf as keyOfObject } from '../informer.ts';
import type { PublishedRoute } from '../ports.ts';
import { publishedHosts } from './hosts.ts';
import { placeholderNames, planPlaceholders, type PlaceholderObservation } from './placeholders.ts';
import { ownerOfLabel, planRoute } from './plan.ts';

/** Makes one Route (`namespace/name`) so: the gateway first, then the status that says it. */
export async function reconcileRoute(context: Context, key: string): Promise<undefined> {
  const { caches, clock, publisher } = context;
  const route = caches.Route.at(key);
  if (!route) {
    publisher.publish(key, []);
    return;
  }
  if (route.metadata.deletionTimestamp) return;
  const namespace = route.metadata.namespace ?? '';
  const { changes, hosts, traffic, isOwn } = planRoute({
    route,
    configuration: (name) => caches.Configuration.get(namespace, name),
    revision: (name) => caches.Revision.get(namespace, name),
    ownerOf: ownerOf(context, route),
    names: context.names,
    now: timestamp(clock.now()),
  });
  publisher.publish(key, hosts);
  await placePlaceholders(context, { route, traffic, isOwn });
  await carryOut(changes, context);
}

/** Not in a cache: they are read when their Route changes, and nobody else writes them. */
async function placePlaceholders(
  { store, names }: Context,
  seen: Pick<PlaceholderObservation, 'route' | 'traffic' | 'isOwn'>,
): Promise<void> {
  const keyOf = (name: string) => ({ group: '', kind: 'Service', namespace: seen.route.metadata.namespace, name });
  const existing = new Map<string, CoreService>();
  for (const name of placeholderNames(seen)) {
    const service = await store.get<CoreService>(keyOf(name));
    if (service) existing.set(name, service);
  }
  for (const change of planPlaceholders({ ...seen, names, existing: (name) => existing.get(name) })) {
    if (change.do === 'create') await store.create(change.object);
    else if (change.do === 'update') await store.update(change.object);
    else await store.delete(keyOf(change.object.metadata.name), { uid: change.object.metadata.uid ?? '' });
  }
}

/** What the stored status says, for the gateway to go on with before anything is reconciled. */
export function publishStored(context: Context): void {
  for (const route of context.caches.Route.all()) {
    context.publisher.publish(keyOfObject(route), publishedHostsOf(context, route));
  }
}

/** The hosts that a Route has by its stored status. */
export function publishedHostsOf(context: Context, route: Route): PublishedRoute[] {
  const owner = ownerOf(context, route);
  const { name } = route.metadata;
  return publishedHosts(context.names, route, route.status, (label) => (owner(label) ?? name) === name);
}

/** The Route that a host's first label belongs to. */
export function routeOfLabel({ caches }: Context, namespace: string, label: string): Route | undefined {
  const owner = ownerOfLabel(label, caches.Route.by('label', `${namespace}/${label}`));
  return owner === undefined ? undefined : caches.Route.get(namespace, owner);
}

function ownerOf(context: Context, route: Route): (label: string) => string | undefined {
  const namespace = route.metadata.namespace ?? '';
  return (label) => ownerOfLabel(label, context.caches.Route.by('label', `${namespace}/${label}`));
}
