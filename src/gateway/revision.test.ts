import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Answer } from './answer.ts';
import { Instance } from './instance.ts';
import { Revision, Waiter } from './revision.ts';
import { instanceEntry, revisionEntry } from './testing/rig.ts';

class TestWaiter extends Waiter {
  readonly n: number;
  instance: Instance | undefined;
  answer: Answer | undefined;
  readonly #order: number[];

  constructor(n: number, order: number[]) {
    super();
    this.n = n;
    this.#order = order;
  }

  assigned(instance: Instance): void {
    this.instance = instance;
    this.#order.push(this.n);
  }

  refused(answer: Answer): void {
    this.answer = answer;
  }
}

function revisionWith(instances: number, options: { concurrency: number; maxQueued?: number }) {
  const activations: number[] = [];
  const revision = new Revision(
    revisionEntry({ containerConcurrency: options.concurrency }),
    { activate: (r) => activations.push(r.queued) },
    { maxQueued: options.maxQueued ?? 100, now: 0 },
  );
  for (let i = 0; i < instances; i++) revision.instances.push(new Instance(instanceEntry(1000 + i, `i${i}`)));
  return { revision, activations };
}

type Step = { do: 'arrive' } | { do: 'end'; n: number } | { do: 'leave'; n: number } | { do: 'add' } | { do: 'remove' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Step>({ do: 'arrive' }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('end' as const), n: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), n: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'add' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'remove' }) },
);

test('always: never over an instance limit or the queue bound, nobody waits beside a free place, first come first served', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 120 }),
      fc.integer({ min: 1, max: 3 }),
      fc.nat(3),
      (steps, concurrency, count) => {
        const { revision } = revisionWith(count, { concurrency, maxQueued: 10 });
        const order: number[] = [];
        const waiters: TestWaiter[] = [];
        let now = 0;
        let added = count;
        for (const s of steps) {
          now += 10;
          const running = waiters.filter((w) => w.instance);
          const waiting = waiters.filter((w) => w.queued);
          if (s.do === 'arrive') {
            const waiter = new TestWaiter(waiters.length, order);
            waiters.push(waiter);
            revision.acquire(waiter, now);
            assert.equal(waiter.answer !== undefined, waiter.instance === undefined && !waiter.queued);
          } else if (s.do === 'end') {
            const waiter = running[s.n % Math.max(1, running.length)];
            const instance = waiter?.instance;
            if (waiter && instance) {
              waiter.instance = undefined;
              revision.release(instance, now);
            }
          } else if (s.do === 'leave') {
            const waiter = waiting[s.n % Math.max(1, waiting.length)];
            if (waiter) revision.leave(waiter, now);
          } else if (s.do === 'add') {
            revision.instances.push(new Instance(instanceEntry(2000 + added, `i${added++}`)));
            revision.instancesChanged(now);
          } else {
            revision.instances.pop();
            revision.instancesChanged(now);
          }
          const free = revision.instances.some((i) => i.inFlight < concurrency);
          assert.ok(revision.instances.every((i) => i.inFlight <= concurrency && i.inFlight >= 0));
          assert.equal(revision.queued, waiters.filter((w) => w.queued).length);
          assert.equal(revision.inFlight, waiters.filter((w) => w.instance).length);
          assert.ok(revision.queued <= 10);
          assert.ok(revision.queued === 0 || !free);
        }
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
        );
      },
    ),
  );
});

test('statistics: concurrency weighted by time, requests that ended, one zero report after', () => {
  const { revision } = revisionWith(1, { concurrency: 1 });
  const order: number[] = [];
  const [first, second] = [new TestWaiter(0, order), new TestWaiter(1, order)];
  revision.acquire(first, 0);
  revision.acquire(second, 500); // One in flight for 500 ms, then one in flight and one queued.
  assert.deepEqual(revision.stats(1000, 1000), {
    revision: revision.entry.id,
    concurrency: 1.5,
    requests: 0,
    queued: 1,
    inFlight: 1,
  });
  const [instance] = revision.instances;
  assert.ok(instance);
  revision.release(instance, 1250);
  revision.release(instance, 1500);
  assert.deepEqual(revision.stats(2000, 1000), {
    revision: revision.entry.id,
    concurrency: 0.75,
    requests: 2,
    queued: 0,
    inFlight: 0,
  });
  assert.equal(revision.stats(3000, 1000)?.concurrency, 0);
  assert.equal(revision.stats(4000, 1000), undefined);
});

test('activation: when the queue becomes non-empty at zero, and when the last instance goes while requests wait', () => {
  const cold = revisionWith(0, { concurrency: 1 });
  cold.revision.acquire(new TestWaiter(0, []), 0);
  cold.revision.acquire(new TestWaiter(1, []), 0);
  assert.deepEqual(cold.activations, [1]);
  const busy = revisionWith(1, { concurrency: 1 });
  busy.revision.acquire(new TestWaiter(0, []), 0);
  busy.revision.acquire(new TestWaiter(1, []), 0);
  assert.deepEqual(busy.activations, []);
  busy.revision.instances.pop();
  busy.revision.instancesChanged(1);
  assert.deepEqual(busy.activations, [1]);
});

test('an instance that refused a connect is left alone for a while, longer each time', () => {
  const instance = new Instance(instanceEntry(1000));
  assert.equal(instance.markDown(0), 200);
  assert.equal(instance.usable(199), false);
  assert.equal(instance.usable(200), true);
  assert.equal(instance.markDown(200), 400);
  instance.markUp();
  assert.equal(instance.markDown(700), 200);
});
