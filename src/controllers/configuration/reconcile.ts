import { timestamp } from '../../resources/index.ts';
import { carryOut, type StoreChange } from '../changes.ts';
import type { Context } from '../context.ts';
import { planGc } from '../gc/plan.ts';
import { revisionNameOf } from './name.ts';
import { planConfiguration } from './plan.ts';

/** Longest that a timer can be set ahead; what is due later is looked at again then. */
const longestDelayMs = 24 * 3_600_000;

/** Makes one Configuration (`namespace/name`) so, and deletes what its old revisions are no longer kept for. */
export async function reconcileConfiguration(context: Context, key: string): Promise<number | undefined> {
  const { caches, clock } = context;
  const configuration = caches.Configuration.at(key);
  if (!configuration || configuration.metadata.deletionTimestamp) return undefined;
  const revisions = caches.Revision.by('configuration', key);
  const nowMs = clock.now();
  const changes = planConfiguration({
    configuration,
    revisions,
    named: caches.Revision.get(configuration.metadata.namespace ?? '', revisionNameOf(configuration)),
    now: timestamp(nowMs),
  });

  const { latestCreatedRevisionName, latestReadyRevisionName } = configuration.status ?? {};
  const gc = planGc(revisions, [latestCreatedRevisionName, latestReadyRevisionName], nowMs);
  const deletions = gc.remove.map((object): StoreChange => ({ do: 'delete', object }));
  await carryOut([...changes, ...deletions], context);
  return gc.nextAtMs === undefined ? undefined : Math.min(longestDelayMs, gc.nextAtMs - nowMs + 1);
}
