import { createHash } from 'node:crypto';
import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { timestamp, type KubeObject } from '../resources/index.ts';
import type { ResourceStore } from './store.ts';

/** What happened to which object. */
export interface EventRecord {
  object: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
  type: 'Normal' | 'Warning';
  /** CamelCase, stable: `Created`, `LatestReadyUpdate` ... */
  reason: string;
  message: string;
}

export interface EventRecorder extends AsyncDisposable {
  /** Keeps an event. Returns at once, never throws; what is not written yet is written on dispose. */
  record(event: EventRecord): void;
}

export interface EventRecorderOptions {
  store: ResourceStore;
  clock: Clock;
  logger: Logger;
  /** Who tells: `ebb-controller`. */
  component: string;
  /** At most so many events are kept, the newest; 1,000 unless given. */
  maxEvents?: number;
  /** How long an event is kept after it was last seen; an hour unless given, as in Kubernetes. */
  ttlMs?: number;
}

type StoredEvent = KubeObject & { count?: number; firstTimestamp?: string; lastTimestamp?: string };

const kind = { group: '', kind: 'Event' };
const cleanEveryMs = 60_000;
/** Events waiting to be written; more at once are dropped, and that is logged. */
const maxPending = 1000;
const maxMessage = 1024;

/**
 * Records core/v1 Events. The same thing said again of the same object is counted in one Event, as Kubernetes does, so
 * that a crash loop is one line with a number. Old ones, and those above the bound, are removed.
 */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { store, clock, logger, component, maxEvents = 1000, ttlMs = 3_600_000 } = options;
  const pending: EventRecord[] = [];
  let writing: Promise<void> | undefined;
  let closed = false;

  async function write(event: EventRecord): Promise<void> {
    const { object, type, reason } = event;
    const message = event.message.slice(0, maxMessage);
    const same = createHash('sha256').update(
      JSON.stringify([object.uid, object.kind, type, reason, message, component]),
    );
    const name = `${object.name.slice(0, 200)}.${same.digest('hex').slice(0, 16)}`;
    const now = timestamp(clock.now());
    const present = await store.get<StoredEvent>({ ...kind, namespace: object.namespace, name });
    if (present) {
      await store.update({ ...present, count: (present.count ?? 1) + 1, lastTimestamp: now });
      return;
    }
    const fresh: StoredEvent & Record<string, unknown> = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace: object.namespace },
      involvedObject: object,
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component },
      reportingComponent: component,
    };
    await store.create(fresh);
  }

  async function drain(): Promise<void> {
    for (let event = pending.shift(); event; event = pending.shift()) {
      try {
        await write(event);
      } catch (error) {
        // The namespace may be going: an event is never worth more than a line in the log.
        const level = error instanceof EbbError && error.status < 500 ? 'debug' : 'warn';
        logger[level]({ err: error, object: event.object.name, reason: event.reason }, 'an event was not kept');
      }
    }
    writing = undefined;
  }

  async function clean(): Promise<void> {
    const { items } = await store.list<StoredEvent>(kind);
    const seen = (e: StoredEvent) => Date.parse(e.lastTimestamp ?? e.metadata.creationTimestamp ?? '') || 0;
    const newestFirst = items.sort((a, b) => seen(b) - seen(a));
    const oldest = clock.now() - ttlMs;
    for (const [i, { metadata, ...event }] of newestFirst.entries()) {
      if (i < maxEvents && seen({ metadata, ...event }) >= oldest) continue;
      await store.delete({ ...kind, namespace: metadata.namespace, name: metadata.name }).catch(() => undefined); // gone already
    }
  }

  const cleaning = clock.every(cleanEveryMs, () => {
    clean().catch((error: unknown) => logger.warn({ err: error }, 'old events cannot be removed'));
  });

  return {
    record(event) {
      if (closed) return;
      if (pending.length >= maxPending) {
        logger.warn({ object: event.object.name, reason: event.reason }, 'too many events at once: one is dropped');
        return;
      }
      pending.push(event);
      writing ??= drain();
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      cleaning[Symbol.dispose]();
      await writing;
    },
  };
}
