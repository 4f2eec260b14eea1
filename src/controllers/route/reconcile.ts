import { timestamp, type Route } from '../../resources/index.ts';
import { carryOut } from '../changes.ts';
import type { Context } from '../context.ts';
import { publishedHosts } from './hosts.ts';
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
  const { changes, hosts } = planRoute({
    route,
    configuration: (name) => caches.Configuration.get(namespace, name),
    revision: (name) => caches.Revision.get(namespace, name),
    ownerOf: ownerOf(context, route),
    names: context.names,
    now: timestamp(clock.now()),
  });
  publisher.publish(key, hosts);
  await carryOut(changes, context);
}

/** What the stored status says, for the gateway to go on with before anything is reconciled. */
export function publishStored(context: Context): void {
  for (const route of context.caches.Route.all()) {
    const owner = ownerOf(context, route);
    const { name, namespace } = route.metadata;
    const isOwn = (label: string) => (owner(label) ?? name) === name;
    const hosts = publishedHosts(context.names, route, route.status, isOwn);
    context.publisher.publish(`${namespace ?? ''}/${name}`, hosts);
  }
}

function ownerOf(context: Context, route: Route): (label: string) => string | undefined {
  const namespace = route.metadata.namespace ?? '';
  return (label) => ownerOfLabel(label, context.caches.Route.by('label', `${namespace}/${label}`));
}
