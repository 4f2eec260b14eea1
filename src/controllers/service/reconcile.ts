import { timestamp } from '../../resources/index.ts';
import { carryOut } from '../changes.ts';
import type { Context } from '../context.ts';
import { planService } from './plan.ts';

/** Makes one Service (`namespace/name`) so. */
export async function reconcileService(context: Context, key: string): Promise<undefined> {
  const { caches, clock } = context;
  const service = caches.Service.at(key);
  if (!service || service.metadata.deletionTimestamp) return;
  const template = service.spec.template.metadata?.name;
  const changes = planService({
    service,
    configuration: caches.Configuration.at(key),
    route: caches.Route.at(key),
    named: template ? caches.Revision.get(service.metadata.namespace ?? '', template) : undefined,
    now: timestamp(clock.now()),
  });
  await carryOut(changes, context);
}
