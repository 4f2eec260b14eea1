import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { activationScale, decide, newMemory, type Observation, type ScalerMemory } from './decide.ts';
import { settingsOf, type ScalingSettings } from './settings.ts';

const calm: ScalerMemory = { panicSinceMs: undefined, panicFloor: 0, recent: [] };
const defaults = settingsOf({}, {});
const seen = (o: Partial<Observation>): Observation => ({
  nowMs: 1_000_000,
  stable: 0,
  panic: 0,
  ready: 1,
  busy: 1,
  idleMs: 0,
  reachable: true,
  initialDone: true,
  ...o,
});
const desired = (o: Partial<Observation>, settings: Partial<ScalingSettings> = {}, memory = calm) =>
  decide({ ...defaults, ...settings }, seen(o), memory).desired;

// Worked out by hand from Knative's documentation: target 100 at 70 % is 70 to an instance.
describe('decide: stable', () => {
  const table: [string, Partial<Observation>, Partial<ScalingSettings>, number][] = [
    ['one is enough for 70', { stable: 70, panic: 70 }, {}, 1],
    ['71 take two', { stable: 71, panic: 71 }, {}, 2],
    ['140 with one ready take two', { stable: 140, panic: 70 }, {}, 2],
    ['1000 take ceil(1000/70)', { stable: 1000, panic: 70, ready: 10 }, {}, 15],
    ['up by the rate at most', { stable: 7000, panic: 70, ready: 2 }, { maxScaleUpRate: 3 }, 6],
    ['down by half at most', { stable: 70, panic: 70, ready: 10 }, {}, 5],
    ['down all the way when nothing leads here', { stable: 70, panic: 70, ready: 10, reachable: false }, {}, 1],
    ['maxScale', { stable: 7000, panic: 70, ready: 50 }, { maxScale: 4 }, 4],
    ['minScale', { stable: 1, panic: 1 }, { minScale: 3 }, 3],
    ['minScale only where a Route leads', { stable: 1, panic: 1, reachable: false }, { minScale: 3 }, 1],
    ['initial scale until it is reached', { initialDone: false }, { initialScale: 5 }, 5],
    ['initial scale within maxScale', { initialDone: false }, { initialScale: 5, maxScale: 2 }, 2],
    ['no initial scale where nothing leads', { initialDone: false, reachable: false, idleMs: 9e9, busy: 0 }, {}, 0],
    ['activation scale lifts what is wanted', { stable: 1, panic: 1 }, { activationScale: 4 }, 4],
  ];
  for (const [name, observation, settings, expected] of table) {
    it(name, () => assert.equal(desired(observation, settings), expected));
  }
});

describe('decide: panic', () => {
  it('begins at twice what is ready and takes the larger window', () => {
    const d = decide(defaults, seen({ stable: 70, panic: 1400, ready: 10 }), calm);
    assert.equal(d.desired, 20);
    assert.equal(d.memory.panicSinceMs, 1_000_000);
    assert.equal(decide(defaults, seen({ stable: 700, panic: 1330, ready: 10 }), calm).panicking, false);
  });

  it('never goes down while it lasts, and ends a stable window after the last crossing', () => {
    let memory = decide(defaults, seen({ stable: 70, panic: 1400, ready: 10 }), calm).memory;
    const later = (ms: number) =>
      decide(defaults, seen({ nowMs: 1_000_000 + ms, stable: 70, panic: 0, ready: 20 }), memory);
    memory = later(10_000).memory;
    assert.equal(later(60_000).desired, 20);
    const after = later(60_001);
    assert.equal(after.panicking, false);
    assert.equal(after.desired, 10);
  });

  it('is extended by each crossing', () => {
    const first = decide(defaults, seen({ panic: 140 }), calm).memory;
    const again = decide(defaults, seen({ nowMs: 1_030_000, panic: 140 }), first).memory;
    assert.equal(again.panicSinceMs, 1_030_000);
  });

  it('is where a scaler begins that finds several instances', () => {
    assert.equal(desired({ ready: 5 }, {}, newMemory(1_000_000, 5)), 5);
    assert.deepEqual(newMemory(0, 1), calm);
  });
});

describe('decide: to zero', () => {
  const idle = { busy: 0, idleMs: 90_000 };
  const table: [string, Partial<Observation>, Partial<ScalingSettings>, number][] = [
    ['idle long enough', idle, {}, 0],
    ['not quite', { busy: 0, idleMs: 89_999 }, {}, 1],
    ['never over requests in flight', { busy: 1, idleMs: 9e9 }, {}, 1],
    ['idle beats a stable window that still remembers', { ...idle, stable: 300 }, {}, 0],
    ['minScale keeps it', idle, { minScale: 1 }, 1],
    ['unless nothing leads here', { ...idle, reachable: false }, { minScale: 1 }, 0],
    ['switched off', idle, { idleToZeroMs: undefined }, 1],
    ['a longer scale-down delay counts', idle, { scaleDownDelayMs: 100_000 }, 1],
    ['a short time of its own', { busy: 0, idleMs: 10_000 }, { idleToZeroMs: 10_000 }, 0],
  ];
  for (const [name, observation, settings, expected] of table) {
    it(name, () => assert.equal(desired(observation, settings), expected));
  }
});

describe('decide: scale-down delay', () => {
  it('is a sliding maximum', () => {
    const settings = { ...defaults, scaleDownDelayMs: 20_000 };
    let memory = calm;
    const at = (s: number, stable: number) => {
      const d = decide(settings, seen({ nowMs: 1_000_000 + s * 1000, stable, panic: stable, ready: 10 }), memory);
      memory = d.memory;
      return d.desired;
    };
    assert.equal(at(0, 700), 10);
    assert.equal(at(2, 420), 10);
    assert.equal(at(18, 350), 10);
    assert.equal(at(20, 350), 6);
    assert.equal(at(40, 350), 5);
  });
});

describe('activationScale', () => {
  const at = (queued: number, settings: Partial<ScalingSettings> = {}) =>
    activationScale({ ...defaults, ...settings }, queued);
  it('serves the whole queue', () => {
    assert.equal(at(0), 1);
    assert.equal(at(100), 1);
    assert.equal(at(101), 2);
    assert.equal(at(10_000, { total: 1, maxScale: 2 }), 2);
    assert.equal(at(7, { total: 1 }), 7);
    assert.equal(at(1, { activationScale: 3 }), 3);
    assert.equal(at(5000, { metric: 'rps', total: 1 }), 1);
  });
});

describe('decide: what always holds', () => {
  const settingsArb = fc
    .record({
      minScale: fc.nat(5),
      maxScale: fc.nat(20),
      initialScale: fc.nat(5),
      activationScale: fc.integer({ min: 1, max: 4 }),
      target: fc.double({ min: 0.01, max: 100, noNaN: true }),
      scaleDownDelayMs: fc.constantFrom(0, 10_000),
      maxScaleUpRate: fc.constantFrom(2, 1000),
    })
    .map((s): ScalingSettings => {
      const cap = (n: number) => (s.maxScale > 0 ? Math.min(n, s.maxScale) : n);
      return {
        ...defaults,
        ...s,
        minScale: cap(s.minScale),
        initialScale: cap(s.initialScale),
        activationScale: cap(s.activationScale),
      };
    });
  const loadArb = fc.double({ min: 0, max: 5000, noNaN: true });
  const seenArb = fc.record({
    nowMs: fc.constant(1_000_000),
    stable: loadArb,
    panic: loadArb,
    ready: fc.nat(30),
    busy: fc.nat(3),
    idleMs: fc.nat(200_000),
    reachable: fc.boolean(),
    initialDone: fc.boolean(),
  });
  const memoryArb = fc.record({
    panicSinceMs: fc.option(fc.integer({ min: 900_000, max: 1_000_000 }), { nil: undefined }),
    panicFloor: fc.nat(20),
    recent: fc.array(fc.record({ atMs: fc.integer({ min: 980_000, max: 999_999 }), desired: fc.nat(20) }), {
      maxLength: 3,
    }),
  });

  it('never above maxScale, never below minScale where a Route leads', () => {
    fc.assert(
      fc.property(settingsArb, seenArb, memoryArb, (s, o, m) => {
        const d = decide(s, o, m).desired;
        if (s.maxScale > 0) assert.ok(d <= s.maxScale);
        if (o.reachable) assert.ok(d >= s.minScale);
        assert.ok(Number.isInteger(d) && d >= 0);
      }),
    );
  });

  it('never zero over requests, or before it was idle long enough', () => {
    fc.assert(
      fc.property(settingsArb, seenArb, memoryArb, (s, o, m) => {
        if (decide(s, o, m).desired === 0) {
          assert.equal(o.busy, 0);
          assert.ok(o.idleMs >= (s.idleToZeroMs ?? Infinity));
        }
      }),
    );
  });

  it('more load never wants fewer', () => {
    fc.assert(
      fc.property(settingsArb, seenArb, memoryArb, loadArb, loadArb, (s, o, m, stable, panic) => {
        const less = decide(s, o, m).desired;
        const more = decide(s, { ...o, stable: o.stable + stable, panic: o.panic + panic }, m).desired;
        assert.ok(more >= less, `${more} < ${less}`);
      }),
    );
  });

  it('remembers a bounded number of past wishes', () => {
    fc.assert(
      fc.property(fc.array(loadArb, { maxLength: 200 }), (loads) => {
        const settings = { ...defaults, scaleDownDelayMs: 60_000 };
        let memory = calm;
        loads.forEach((stable, i) => {
          memory = decide(settings, seen({ nowMs: i * 2000, stable, ready: 20 }), memory).memory;
          assert.ok(memory.recent.length <= 31);
        });
      }),
    );
  });
});
