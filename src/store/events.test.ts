import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import type { KubeObject } from '../resources/index.ts';
import { createEventRecorder, type EventRecord } from './events.ts';
import { openSqliteStore } from './sqlite/store.ts';
import type { ResourceStore } from './store.ts';

const kind = { group: '', kind: 'Event' };
const event = (reason: string, name = 'hello'): EventRecord => ({
  object: { apiVersion: 'serving.knative.dev/v1', kind: 'Service', namespace: 'default', name, uid: 'u' },
  type: 'Normal',
  reason,
  message: `${reason} ${name}`,
});

async function setUp(maxEvents?: number) {
  const clock = new FakeClock();
  const store = await openSqliteStore({ file: ':memory:', clock });
  const bound = maxEvents === undefined ? {} : { maxEvents };
  const recorder = createEventRecorder({ store, clock, logger: silentLogger, component: 'test', ...bound });
  return { clock, store, recorder };
}

type Stored = KubeObject & { reason: string; count: number; firstTimestamp: string; lastTimestamp: string };
const reasons = async (store: ResourceStore) => (await store.list<Stored>(kind)).items.map((e) => e.reason).sort();

/** Resolves when an event has been deleted. */
async function deletion(store: ResourceStore): Promise<void> {
  const { resourceVersion } = await store.list(kind);
  const abort = new AbortController();
  for await (const change of store.watch(kind, { fromVersion: resourceVersion, signal: abort.signal })) {
    if (change.type === 'DELETED') break;
  }
}

describe('the event recorder', () => {
  it('counts the same thing said again in one event', async () => {
    const { clock, store, recorder } = await setUp();
    recorder.record(event('Created'));
    recorder.record(event('Created'));
    recorder.record(event('Other'));
    await recorder[Symbol.asyncDispose]();
    const { items } = await store.list<Stored>(kind);
    assert.deepEqual(items.map((e) => [e.reason, e.count]).sort(), [
      ['Created', 2],
      ['Other', 1],
    ]);
    assert.equal(items[0]?.firstTimestamp, new Date(clock.now()).toISOString().replace('.000', ''));
    await store[Symbol.asyncDispose]();
  });

  it('forgets what is older than an hour', async () => {
    const { clock, store, recorder } = await setUp();
    recorder.record(event('Old'));
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(3_600_000 - 60_000);
    recorder.record(event('New'));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(await reasons(store), ['New', 'Old']);
    const gone = deletion(store);
    clock.advance(120_000);
    await gone;
    assert.deepEqual(await reasons(store), ['New']);
    await recorder[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  it('keeps no more than its bound', async () => {
    const { clock, store, recorder } = await setUp(2);
    for (const reason of ['A', 'B', 'C']) {
      recorder.record(event(reason));
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(1000);
    }
    const gone = deletion(store);
    clock.advance(60_000);
    await gone;
    assert.deepEqual(await reasons(store), ['B', 'C']);
    await recorder[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  });

  it('swallows what cannot be written', async () => {
    const { store, recorder } = await setUp();
    await store[Symbol.asyncDispose]();
    recorder.record(event('Lost'));
    await recorder[Symbol.asyncDispose]();
  });
});
