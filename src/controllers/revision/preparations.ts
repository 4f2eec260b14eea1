import type { Clock } from '../../platform/clock.ts';
import { EbbError, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Revision } from '../../resources/index.ts';
import type { RevisionRuntime } from '../ports.ts';

export type Preparation =
  | { state: 'none' }
  | { state: 'preparing'; progress: string | undefined }
  | { state: 'prepared'; images: { name: string; digest: string }[] }
  /** Tried again later by itself. */
  | { state: 'failed'; message: string; code?: string | undefined };

/** Fetching of images, apart from reconciling: a slow registry holds up nothing but its own revisions. */
export interface Preparations extends AsyncDisposable {
  of(key: string): Preparation;
  /** Begins, unless it has begun; tries again with back-off until it works or is forgotten. */
  start(key: string, revision: Revision): void;
  /** Tries at once what has failed and would be tried later. */
  retry(key: string): void;
  forget(key: string): void;
}

/** Images that are fetched at the same time. */
const parallel = 8;
const firstRetryMs = 2000;
const lastRetryMs = 300_000;
/** How often progress is worth a change of status. */
const progressEveryMs = 1000;

interface Entry {
  key: string;
  abort: AbortController;
  preparation: Preparation;
  failures: number;
  toldMs: number;
  retry: { revision: Revision; timer: Disposable } | undefined;
}

/** @param changed called after each change of what {@link Preparations.of} answers */
export function createPreparations(deps: {
  runtime: RevisionRuntime;
  clock: Clock;
  logger: Logger;
  changed: (key: string) => void;
}): Preparations {
  const { clock } = deps;
  const entries = new Map<string, Entry>();
  const waiting: { entry: Entry; revision: Revision }[] = [];
  const running = new Set<Promise<void>>();
  let closed = false;

  function enqueue(entry: Entry, revision: Revision): void {
    entry.retry = undefined;
    waiting.push({ entry, revision });
    next();
  }

  function next(): void {
    while (!closed && running.size < parallel) {
      const job = waiting.shift();
      if (!job) return;
      if (job.entry.abort.signal.aborted) continue;
      const work = attempt(job.entry, job.revision).finally(() => {
        running.delete(work);
        next();
      });
      running.add(work);
    }
  }

  async function attempt(entry: Entry, revision: Revision): Promise<void> {
    const { key, abort } = entry;
    let preparation: Preparation;
    try {
      const { images } = await deps.runtime.prepare(revision, {
        signal: abort.signal,
        onProgress: (event) => progressed(entry, event),
      });
      preparation = { state: 'prepared', images };
      entry.failures = 0;
    } catch (error) {
      if (abort.signal.aborted) return;
      const code = error instanceof EbbError ? error.code : undefined;
      preparation = { state: 'failed', message: messageOf(error), code };
      const retryMs = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(entry.failures++, 20));
      deps.logger.warn({ revision: key, code, error: messageOf(error), retryMs }, 'cannot prepare revision');
      entry.retry = { revision, timer: clock.after(retryMs, () => enqueue(entry, revision)) };
    }
    if (!abort.signal.aborted) set(entry, preparation);
  }

  function set(entry: Entry, preparation: Preparation): void {
    entry.preparation = preparation;
    deps.changed(entry.key);
  }

  function progressed(entry: Entry, event: { message: string; doneBytes?: number; totalBytes?: number }): void {
    const nowMs = clock.monotonic();
    // After a failure its message stays, until the next try has an end.
    if (entry.preparation.state !== 'preparing' || nowMs - entry.toldMs < progressEveryMs) return;
    entry.toldMs = nowMs;
    set(entry, { state: 'preparing', progress: describe(event) });
  }

  return {
    of: (key) => entries.get(key)?.preparation ?? { state: 'none' },
    start(key, revision) {
      if (entries.has(key) || closed) return;
      const entry: Entry = {
        key,
        abort: new AbortController(),
        preparation: { state: 'preparing', progress: undefined },
        failures: 0,
        toldMs: Number.NEGATIVE_INFINITY,
        retry: undefined,
      };
      entries.set(key, entry);
      enqueue(entry, revision);
    },
    retry(key) {
      const entry = entries.get(key);
      if (!entry?.retry || closed) return;
      entry.retry.timer[Symbol.dispose]();
      enqueue(entry, entry.retry.revision);
    },
    forget(key) {
      const entry = entries.get(key);
      entries.delete(key);
      entry?.abort.abort();
      entry?.retry?.timer[Symbol.dispose]();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      for (const entry of entries.values()) {
        entry.abort.abort();
        entry.retry?.timer[Symbol.dispose]();
      }
      await Promise.all(running);
    },
  };
}

function describe(event: { message: string; doneBytes?: number; totalBytes?: number }): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  // What is small is done before anybody has read how much of it is.
  if (event.doneBytes === undefined || (event.totalBytes ?? 0) < 1e6) return event.message;
  const total = event.totalBytes === undefined ? '' : ` of ${megabytes(event.totalBytes)}`;
  return `${event.message}: ${megabytes(event.doneBytes)}${total} MB`;
}
