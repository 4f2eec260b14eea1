import { parseDuration } from '../../platform/duration.ts';
import { messageOf } from '../../platform/errors.ts';
import { timestamp, type Revision } from '../../resources/index.ts';
import { carryOut, type StoreChange } from '../changes.ts';
import { readiness } from '../conditions.ts';
import type { Context } from '../context.ts';
import { keyOf } from '../informer.ts';
import { keys } from '../names.ts';
import type { DeployOptions } from '../ports.ts';
import { planRevision } from './plan.ts';
import { createPreparations } from './preparations.ts';

/** What this process has done for a revision. */
interface Known {
  uid: string;
  deployed: DeployOptions | undefined;
  deployedMs: number;
  retiring: boolean;
}

/** Replicas come and go faster than anyone reads; a ready revision's status follows at this pace. */
const settledStatusMs = 500;
const retireRetryMs = 5000;
/** Longest that a timer can be set ahead; the deadline is looked at again then. */
const longestDelayMs = 24 * 3_600_000;
/** Knative's `progress-deadline`. */
const defaultDeadlineMs = 600_000;

export interface RevisionReconciler extends AsyncDisposable {
  reconcile(key: string): Promise<number | undefined>;
}

/** Makes Revisions so. `enqueue` brings a key back when something outside of the store has changed. */
export function createRevisionReconciler(
  context: Context,
  enqueue: (key: string, delayMs?: number) => void,
): RevisionReconciler {
  const { caches, clock, logger, runtime } = context;
  const known = new Map<string, Known>();
  const preparations = createPreparations({ runtime, clock, logger, changed: (key) => enqueue(key) });
  const subscription = runtime.onChange((namespace, name) => {
    const key = `${namespace}/${name}`;
    const revision = caches.Revision.at(key);
    if (revision) enqueue(key, readiness(revision) === 'True' ? settledStatusMs : 0);
  });
  const references = runtime.onReferenceChange((namespace, name) => preparations.retry(`${namespace}/${name}`));

  function retire(key: string, entry: Known): void {
    if (entry.retiring) return;
    entry.retiring = true;
    preparations.forget(key);
    const [namespace = '', name = ''] = key.split('/');
    // Not awaited: draining takes as long as the longest request, and nobody else should wait for it.
    void runtime.retire(namespace, name).then(
      () => {
        known.delete(key);
        enqueue(key);
      },
      (error: unknown) => {
        logger.warn({ revision: key, error: messageOf(error) }, 'cannot retire revision');
        entry.retiring = false;
        enqueue(key, retireRetryMs);
      },
    );
  }

  function deploy(key: string, entry: Known, revision: Revision, options: DeployOptions): void {
    if (!entry.deployed) {
      entry.deployedMs = clock.monotonic();
      // From now on the runtime's view is the whole truth about it.
      enqueue(key);
    }
    entry.deployed = options;
    runtime.deploy(revision, options);
  }

  /** Whether a Route waits for the revision; see `RevisionObservation.awaited`. */
  function isAwaited(key: string, revision: Revision): boolean {
    if (caches.Route.by('names', key).length > 0) return true;
    const { namespace = '', name, labels } = revision.metadata;
    const configuration = caches.Configuration.get(namespace, labels?.[keys.configuration] ?? '');
    if (!configuration) return false;
    // Until the Configuration has seen its newest revision, any may be it.
    const latest = configuration.status?.latestCreatedRevisionName ?? name;
    return latest === name && caches.Route.by('follows', keyOf(configuration)).length > 0;
  }

  async function reconcile(key: string): Promise<number | undefined> {
    const revision = caches.Revision.at(key);
    const uid = revision?.metadata.uid ?? '';
    const before = known.get(key);
    if (before && (!revision || before.uid !== uid)) {
      retire(key, before);
      return undefined;
    }
    if (!revision || revision.metadata.deletionTimestamp) return undefined;
    const entry = before ?? { uid, deployed: undefined, deployedMs: 0, retiring: false };
    known.set(key, entry);

    const { namespace = '', name } = revision.metadata;
    const leftMs = entry.deployed ? entry.deployedMs + deadlineMs(revision) - clock.monotonic() : Infinity;
    const changes = planRevision({
      revision,
      view: runtime.observe(namespace, name),
      preparation: preparations.of(key),
      deployed: entry.deployed,
      servedBy: caches.Route.by('serves', key)
        .map((r) => r.metadata.name)
        .sort(),
      awaited: isAwaited(key, revision),
      overdue: leftMs <= 0,
      now: timestamp(clock.now()),
    });
    const writes: StoreChange[] = [];
    for (const change of changes) {
      if (change.do === 'prepare') preparations.start(key, revision);
      else if (change.do === 'deploy') deploy(key, entry, withDigests(revision, changes), change.options);
      else writes.push(change);
    }
    await carryOut(writes, context);
    const undecided = entry.deployed !== undefined && !entry.deployed.initialDone && leftMs > 0;
    return undecided ? Math.min(leftMs, longestDelayMs) : undefined;
  }

  return {
    reconcile,
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      references[Symbol.dispose]();
      await preparations[Symbol.asyncDispose]();
    },
  };
}

/** The revision with the status that is about to be written: the runtime must run the digests it just resolved. */
function withDigests(revision: Revision, changes: readonly { do: string }[]): Revision {
  const planned = (changes as readonly StoreChange[]).find((c) => c.do === 'update-status');
  return planned?.do === 'update-status' ? (planned.object as Revision) : revision;
}

function deadlineMs(revision: Revision): number {
  const text = revision.metadata.annotations?.[keys.progressDeadline];
  return (text === undefined ? undefined : parseDuration(text)) ?? defaultDeadlineMs;
}
