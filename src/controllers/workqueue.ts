import { setImmediate as nextTurn } from 'node:timers/promises';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';

export interface WorkqueueOptions {
  name: string;
  /** Makes the object of `key` as it should be. Resolving with a number asks to be called again after so many ms. */
  reconcile: (key: string) => Promise<number | undefined>;
  /** Keys worked on at the same time; one key never by two. */
  parallel: number;
  clock: Clock;
  logger: Logger;
}

/**
 * Keys waiting to be reconciled: each at most once, first come first served, a key that is added while it is being worked
 * on gets another turn at the end, one that fails comes back with exponential back-off.
 * Its size is bounded by the number of objects that there are.
 */
export interface Workqueue extends AsyncDisposable {
  /** Adds a key, now or after a delay; the earliest of several delays counts. */
  add(key: string, delayMs?: number): void;
  /** Nothing waits and nothing runs. What is delayed doesn't count. */
  readonly idle: boolean;
  /** Resolves when {@link idle}. */
  whenIdle(): Promise<void>;
  /** Takes no more and resolves when what runs has ended. */
  [Symbol.asyncDispose](): Promise<void>;
}

const firstRetryMs = 5;
const lastRetryMs = 300_000;
/** Reconciling touches nothing but memory most of the time: without a pause a thousand keys would hold up all I/O. */
const keysBetweenPauses = 8;

export function createWorkqueue(options: WorkqueueOptions): Workqueue {
  const { clock, logger } = options;
  /** A Set keeps the order of insertion: the queue and its index in one. */
  const waiting = new Set<string>();
  const running = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { dueMs: number; timer: Disposable }>();
  let idlers: (() => void)[] = [];
  let workers = 0;
  let closed = false;

  function add(key: string, delayMs = 0): void {
    if (closed) return;
    if (delayMs > 0) return delay(key, delayMs);
    cancelDelay(key);
    if (running.has(key)) again.add(key);
    else waiting.add(key);
    if (workers < options.parallel && waiting.size > 0) {
      workers++;
      void work();
    }
  }

  function delay(key: string, delayMs: number): void {
    const dueMs = clock.monotonic() + delayMs;
    const before = delayed.get(key);
    if (waiting.has(key) || (before && before.dueMs <= dueMs)) return;
    before?.timer[Symbol.dispose]();
    const timer = clock.after(delayMs, () => {
      delayed.delete(key);
      add(key);
    });
    delayed.set(key, { dueMs, timer });
  }

  function cancelDelay(key: string): void {
    delayed.get(key)?.timer[Symbol.dispose]();
    delayed.delete(key);
  }

  async function work(): Promise<void> {
    // Whoever adds a key goes on with its own work first.
    await Promise.resolve();
    for (let done = 1; ; done++) {
      const key = waiting.values().next().value;
      if (key === undefined || closed) break;
      waiting.delete(key);
      await attempt(key);
      if (done % keysBetweenPauses === 0) await nextTurn();
    }
    workers--;
    if (idle()) {
      const resolved = idlers;
      idlers = [];
      for (const resolve of resolved) resolve();
    }
  }

  async function attempt(key: string): Promise<void> {
    running.add(key);
    let retryMs: number | undefined;
    try {
      retryMs = await options.reconcile(key);
      failures.delete(key);
    } catch (error) {
      retryMs = failed(key, error);
    }
    running.delete(key);
    if (again.delete(key)) add(key);
    else if (retryMs !== undefined) add(key, Math.max(1, retryMs));
  }

  function failed(key: string, error: unknown): number {
    const count = (failures.get(key) ?? 0) + 1;
    failures.set(key, count);
    const retryMs = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(count - 1, 30));
    const fields = { queue: options.name, key, failures: count, retryMs, error: messageOf(error) };
    // Someone else wrote the object first: the next turn sees it. Part of normal life.
    if (error instanceof EbbError && error.status === 409 && count < 5) logger.debug(fields, 'reconcile overtaken');
    else logger.warn(fields, 'reconcile failed');
    return retryMs;
  }

  const idle = () => waiting.size === 0 && running.size === 0 && workers === 0;

  return {
    add,
    get idle() {
      return idle();
    },
    whenIdle: () => (idle() ? Promise.resolve() : new Promise<void>((resolve) => idlers.push(resolve))),
    async [Symbol.asyncDispose]() {
      closed = true;
      waiting.clear();
      again.clear();
      for (const key of [...delayed.keys()]) cancelDelay(key);
      if (!idle()) await new Promise<void>((resolve) => idlers.push(resolve));
    },
  };
}
