import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, systemClock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import { silentLogger } from '../platform/logger.ts';
import type { Service } from '../resources/index.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import type { ResourceStore } from '../store/store.ts';
import { conditionsOf, no, unknown, yes } from './conditions.ts';
import { createInformer } from './informer.ts';
import { childName } from './names.ts';
import { createWorkqueue } from './workqueue.ts';

describe('workqueue', () => {
  const queueOf = (reconcile: (key: string) => Promise<number | undefined>, parallel = 2, clock = new FakeClock()) => ({
    clock,
    queue: createWorkqueue({ name: 'test', reconcile, parallel, clock, logger: silentLogger }),
  });

  it('does each key once, in order, never two of one at a time', async () => {
    const done: string[] = [];
    const running = new Set<string>();
    let most = 0;
    const { queue } = queueOf(async (key) => {
      assert.ok(!running.has(key));
      running.add(key);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
      done.push(key);
      return undefined;
    });
    for (const key of ['a', 'b', 'a', 'c', 'b', 'd']) queue.add(key);
    await queue.whenIdle();
    assert.deepEqual(done, ['a', 'b', 'c', 'd']);
    assert.equal(most, 2);
  });

  it('does a key again that was added while it ran, after what waited already', async () => {
    const done: string[] = [];
    const { queue } = queueOf(async (key) => {
      if (key === 'a' && !done.includes('a')) {
        queue.add('a');
        queue.add('b');
      }
      done.push(key);
      return undefined;
    }, 1);
    queue.add('a');
    await queue.whenIdle();
    assert.deepEqual(done, ['a', 'b', 'a']);
  });

  it('comes back with exponential back-off after errors, and forgets them after success', async () => {
    let failing = 3;
    const at: number[] = [];
    const { queue, clock } = queueOf(async () => {
      at.push(clock.monotonic());
      if (failing-- > 0) throw new EbbError('Conflict', 409, 'overtaken');
      return undefined;
    });
    queue.add('a');
    for (let i = 0; i < 40; i++) {
      await queue.whenIdle();
      clock.advance(1);
    }
    assert.deepEqual(
      at.map((ms) => ms - (at[0] ?? 0)),
      [0, 5, 15, 35],
    );
  });

  it('takes the earliest of several delays, and none after it is closed', async () => {
    let runs = 0;
    const { queue, clock } = queueOf(async () => (runs++, undefined));
    queue.add('a', 100);
    queue.add('a', 10);
    queue.add('a', 50);
    clock.advance(10);
    await queue.whenIdle();
    assert.equal(runs, 1);
    clock.advance(1000);
    await queue.whenIdle();
    assert.equal(runs, 1);
    queue.add('a', 10);
    await queue[Symbol.asyncDispose]();
    queue.add('a');
    clock.advance(1000);
    assert.equal(runs, 1);
  });
});

describe('informer', () => {
  const kind = { group: 'serving.knative.dev', kind: 'Service' };
  const service = (name: string): Service => ({
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', labels: { team: name.slice(0, 1) } },
    spec: { template: { spec: { containers: [{ image: 'x' }] } } },
  });
  const open = (store: ResourceStore, signal: AbortSignal) =>
    createInformer<Service>({
      store,
      kind,
      indexes: { team: (s) => [s.metadata.labels?.['team'] ?? ''] },
      clock: systemClock,
      logger: silentLogger,
      signal,
    });
  const settle = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

  it('lists, watches, indexes, and reads its own writes at once', async () => {
    await using store = await openSqliteStore({ file: ':memory:', clock: systemClock });
    const abort = new AbortController();
    await store.create(service('a1'));
    const informer = open(store, abort.signal);
    const seen: string[] = [];
    informer.on(({ type, object }) => seen.push(`${type} ${object.metadata.name}`));
    await informer.start();
    const a2 = await store.create(service('a2'));
    informer.put(a2);
    assert.equal(informer.by('team', 'a').length, 2);
    await settle();
    const moved = await store.update({ ...a2, metadata: { ...a2.metadata, labels: { team: 'z' } } });
    await settle();
    assert.deepEqual(
      informer.by('team', 'z').map((s) => s.metadata.name),
      ['a2'],
    );
    await store.delete({ ...kind, namespace: 'default', name: 'a2' });
    await settle();
    informer.put(moved);
    assert.equal(informer.get('default', 'a2'), undefined, 'an old write does not raise the dead');
    assert.deepEqual(informer.by('team', 'z'), []);
    assert.deepEqual(seen, ['changed a1', 'changed a2', 'changed a2', 'gone a2']);
    abort.abort();
    await informer.ended;
  });

  it('reads everything anew when the watch has expired', async () => {
    await using inner = await openSqliteStore({ file: ':memory:', clock: systemClock });
    const abort = new AbortController();
    await inner.create(service('a1'));
    await inner.create(service('b1'));
    let expire: () => void = () => undefined;
    let watches = 0;
    const store: ResourceStore = {
      ...inner,
      async *watch(k, options) {
        if (watches++ > 0) return yield* inner.watch(k, options) as AsyncGenerator<never>;
        await new Promise<void>((resolve) => (expire = resolve));
        throw new EbbError('Expired', 410, 'too old');
      },
    };
    const informer = open(store, abort.signal);
    await informer.start();
    await settle();
    await inner.delete({ ...kind, namespace: 'default', name: 'a1' });
    await inner.create(service('c1'));
    const gone = new Promise<string>((resolve) =>
      informer.on(({ type, object }) => type === 'gone' && resolve(object.metadata.name)),
    );
    expire();
    assert.equal(await gone, 'a1');
    await settle();
    assert.deepEqual([...informer.keys()].sort(), ['default/b1', 'default/c1']);
    abort.abort();
    await informer.ended;
  });
});

describe('conditionsOf', () => {
  it('sums up: False before Unknown before True, Info aside', () => {
    const ready = (verdicts: Parameters<typeof conditionsOf>[1]) =>
      conditionsOf(undefined, verdicts, 'now').find((c) => c.type === 'Ready');
    assert.equal(ready({ A: yes, B: yes })?.status, 'True');
    assert.equal(ready({ A: unknown('U', 'u'), B: no('N', 'n'), C: no('O', 'o') })?.reason, 'N');
    assert.equal(ready({ A: yes, B: unknown('U', 'u') })?.reason, 'U');
    assert.equal(ready({ A: yes, B: { ...no('N', 'n'), severity: 'Info' } })?.status, 'True');
  });

  it('moves the time only with the status, and sorts by type', () => {
    const first = conditionsOf(undefined, { Z: unknown('A', 'a') }, 't1');
    assert.deepEqual(
      first.map((c) => c.type),
      ['Ready', 'Z'],
    );
    const second = conditionsOf(first, { Z: unknown('B', 'b') }, 't2');
    assert.deepEqual(
      second.map((c) => c.lastTransitionTime),
      ['t1', 't1'],
    );
    assert.deepEqual(
      conditionsOf(second, { Z: yes }, 't3').map((c) => c.lastTransitionTime),
      ['t3', 't3'],
    );
  });
});

describe('childName', () => {
  it('stays within a DNS label', () => {
    assert.equal(childName('hello', '-00001'), 'hello-00001');
    const long = childName('x'.repeat(63), '-00001');
    assert.equal(long.length, 63);
    assert.match(long, /^x{25}[0-9a-f]{32}-00001$/);
  });
});
