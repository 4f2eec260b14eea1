import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock, type Clock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import { createAutoscaler, type LoadReport } from './driver.ts';
import { settingsOf } from './settings.ts';

const id = 'default/hello-00001';

function setUp(annotations: Record<string, string> = {}, options: { concurrency?: number; budget?: number } = {}) {
  const fake = new FakeClock();
  let timers = 0;
  const clock: Clock = {
    now: () => fake.now(),
    monotonic: () => fake.monotonic(),
    after: (ms, fn) => fake.after(ms, fn),
    every(ms, fn) {
      timers++;
      const timer = fake.every(ms, fn);
      return {
        [Symbol.dispose]() {
          timers--;
          timer[Symbol.dispose]();
        },
      };
    },
  };
  const calls: { revision: string; instances: number; standby: number }[] = [];
  const scaler = createAutoscaler({
    clock,
    logger: silentLogger,
    scale: (revision, want) => calls.push({ revision, ...want }),
    config: { standbyBudget: options.budget ?? 10 },
  });
  const settings = settingsOf(annotations, { containerConcurrency: options.concurrency });
  const load = (report: Partial<LoadReport>): LoadReport => ({
    revision: id,
    concurrency: 0,
    requests: 0,
    queued: 0,
    inFlight: 0,
    ...report,
  });
  const desired = () => scaler.describe(id)?.desired;
  /** `seconds` of steady load, then the instances that were asked for are there. */
  const run = (seconds: number, concurrency: number) => {
    for (let s = 0; s < seconds; s++) {
      fake.advance(1000);
      if (concurrency > 0) scaler.stats(1000, [load({ concurrency, inFlight: Math.ceil(concurrency), requests: 1 })]);
      scaler.observed(id, { ready: desired() ?? 0, starting: 0 });
    }
  };
  scaler.gateway(true);
  return { fake, scaler, settings, calls, load, desired, run, timers: () => timers };
}

describe('autoscaler', () => {
  it('starts a new revision at its initial scale and takes it to zero once idle', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true });
    assert.deepEqual(t.calls, [{ revision: id, instances: 1, standby: 1 }]);
    t.scaler.observed(id, { ready: 1, starting: 0 });
    t.fake.advance(88_000);
    assert.equal(t.desired(), 1);
    t.fake.advance(4000);
    assert.deepEqual(t.calls.at(-1), { revision: id, instances: 0, standby: 1 });
    assert.equal(t.timers(), 0, 'at zero nothing ticks');
  });

  it('leaves a revision at zero that has proved itself before', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    assert.deepEqual(t.calls, [{ revision: id, instances: 0, standby: 1 }]);
    assert.equal(t.timers(), 0);
  });

  it('activates synchronously, for all that waits', () => {
    const t = setUp({ 'autoscaling.knative.dev/max-scale': '5' }, { concurrency: 10 });
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    t.scaler.activate(id, 25);
    assert.equal(t.calls.at(-1)?.instances, 3);
    t.scaler.activate(id, 25);
    assert.equal(t.calls.length, 2, 'asking again changes nothing');
    t.scaler.activate(id, 10_000);
    assert.equal(t.calls.at(-1)?.instances, 5);
  });

  it('lets a growing queue raise the scale before the next tick', () => {
    const t = setUp({}, { concurrency: 1 });
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    t.scaler.activate(id, 1);
    t.scaler.stats(1000, [t.load({ concurrency: 8, queued: 8 })]);
    assert.equal(t.calls.at(-1)?.instances, 8);
  });

  it('goes to zero about scale-to-zero-after the last request', () => {
    const t = setUp({ 'ebb.dev/scale-to-zero-after': '10s' });
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    t.scaler.activate(id, 1);
    t.run(30, 1);
    t.scaler.stats(1000, [t.load({})]);
    const last = t.fake.monotonic();
    while (t.desired() !== 0) t.fake.advance(500);
    const took = t.fake.monotonic() - last;
    assert.ok(took >= 9000 && took <= 12_000, `${took} ms`);
  });

  it('scales out under load, holds in panic, comes back down', () => {
    const t = setUp({}, { concurrency: 10 });
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    t.scaler.activate(id, 1);
    t.run(90, 70);
    assert.equal(t.desired(), 10, 'ceil(70 / 7)');
    t.run(30, 7);
    assert.ok((t.desired() ?? 0) >= 5);
    t.run(120, 7);
    assert.equal(t.desired(), 1);
  });

  it('does not stop what a former process left running before it has data', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true, ready: 4 });
    assert.deepEqual(t.calls, [{ revision: id, instances: 4, standby: 1 }]);
    t.fake.advance(60_000);
    assert.equal(t.desired(), 4);
    t.fake.advance(40_000);
    assert.equal(t.desired(), 0);
  });

  it('freezes while the gateway is gone and counts idleness anew when it is back', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true, ready: 1 });
    t.fake.advance(80_000);
    t.scaler.gateway(false);
    assert.equal(t.timers(), 0);
    t.fake.advance(3_600_000);
    assert.equal(t.desired(), 1);
    assert.equal(t.scaler.describe(id)?.frozen, true);
    t.scaler.gateway(true);
    t.fake.advance(88_000);
    assert.equal(t.desired(), 1);
    t.fake.advance(4000);
    assert.equal(t.desired(), 0);
  });

  it('decides nothing for a busy revision whose reports have stopped', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    t.scaler.activate(id, 1);
    t.run(10, 500);
    const before = t.desired();
    t.fake.advance(600_000);
    assert.equal(t.desired(), before);
  });

  it('gives up an activation that makes nothing ready', () => {
    const t = setUp({ 'serving.knative.dev/progress-deadline': '20s' });
    t.scaler.upsert(id, t.settings, { reachable: true });
    t.fake.advance(50_000);
    assert.equal(t.desired(), 1);
    t.fake.advance(4000);
    assert.equal(t.desired(), 0);
    t.scaler.activate(id, 1);
    assert.equal(t.desired(), 1, 'a request tries again');
  });

  it('raises to minScale at once and drops it with the Route', () => {
    const t = setUp();
    t.scaler.upsert(id, t.settings, { reachable: true, initialDone: true });
    const min = settingsOf({ 'autoscaling.knative.dev/min-scale': '3' }, {});
    t.scaler.upsert(id, min, { reachable: true, initialDone: true });
    assert.equal(t.calls.at(-1)?.instances, 3);
    t.scaler.observed(id, { ready: 3, starting: 0 });
    t.fake.advance(300_000);
    assert.equal(t.desired(), 3);
    t.scaler.upsert(id, min, { reachable: false });
    assert.equal(t.calls.at(-1)?.standby, 0);
    t.fake.advance(4000);
    assert.equal(t.desired(), 0);
  });

  it('hands standbys to the most recently used within the budget', () => {
    const t = setUp({}, { budget: 2 });
    for (const name of ['a', 'b', 'c']) {
      t.scaler.upsert(name, t.settings, { reachable: true, initialDone: true });
      t.fake.advance(10);
    }
    t.fake.advance(2000);
    const holders = () => ['a', 'b', 'c'].filter((name) => t.scaler.describe(name)?.standby === 1);
    assert.deepEqual(holders(), ['b', 'c']);
    t.scaler.activate('a', 1);
    t.fake.advance(2000);
    assert.deepEqual(holders(), ['a', 'c']);
    t.scaler.remove('c');
    t.fake.advance(2000);
    assert.deepEqual(holders(), ['a', 'b']);
  });

  it('ignores what it does not know', () => {
    const t = setUp();
    t.scaler.activate('x/y', 1);
    t.scaler.observed('x/y', { ready: 1, starting: 0 });
    t.scaler.stats(1000, [t.load({ revision: 'x/y', queued: 4 })]);
    t.scaler.remove('x/y');
    assert.deepEqual(t.calls, []);
    assert.equal(t.scaler.describe('x/y'), undefined);
  });
});
