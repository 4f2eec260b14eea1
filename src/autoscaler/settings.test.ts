import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { knativeDefaults, settingsOf } from './settings.ts';

const scaling = (settings: Record<string, string>) =>
  Object.fromEntries(Object.entries(settings).map(([k, v]) => [`autoscaling.knative.dev/${k}`, v]));

describe('settingsOf', () => {
  it("is Knative's configuration where nothing is said", () => {
    const s = settingsOf({}, { containerConcurrency: 0 });
    assert.equal(s.total, 100);
    assert.equal(s.target, 70);
    assert.equal(s.stableWindowMs, 60_000);
    assert.equal(s.panicWindowMs, 6000);
    assert.equal(s.panicThreshold, 2);
    assert.equal(s.initialScale, 1);
    assert.equal(s.activationScale, 1);
    assert.equal(s.idleToZeroMs, 90_000);
    assert.equal(s.activationTimeoutMs, 630_000);
  });

  const totals: [string, Record<string, string>, number, number][] = [
    ['the container limit is the target', {}, 10, 10],
    ['the annotation wins below the limit', { target: '4' }, 10, 4],
    ['the annotation never exceeds the limit', { target: '40' }, 10, 10],
    ['the annotation without a limit', { target: '40' }, 0, 40],
    ['rps has its own default', { metric: 'rps' }, 10, 200],
    ['rps is not bounded by concurrency', { metric: 'rps', target: '500' }, 10, 500],
  ];
  for (const [name, annotations, containerConcurrency, total] of totals) {
    it(name, () => assert.equal(settingsOf(scaling(annotations), { containerConcurrency }).total, total));
  }

  it('reads dashed and camelCase names', () => {
    const s = settingsOf(scaling({ minScale: '2', 'max-scale': '5', targetUtilizationPercentage: '100' }), {});
    assert.deepEqual([s.minScale, s.maxScale, s.target], [2, 5, 100]);
  });

  it('keeps min, initial and activation scale within max', () => {
    const s = settingsOf(
      scaling({ 'min-scale': '9', 'initial-scale': '8', 'activation-scale': '7', 'max-scale': '3' }),
      {},
    );
    assert.deepEqual([s.minScale, s.initialScale, s.activationScale], [3, 3, 3]);
  });

  it('states the whole time to zero with one annotation', () => {
    const s = settingsOf({ 'ebb.dev/scale-to-zero-after': '10s' }, {});
    assert.equal(s.idleToZeroMs, 10_000);
    assert.equal(s.stableWindowMs, 60_000);
  });

  it('adds the longer of grace and retention to the window', () => {
    const s = settingsOf(scaling({ window: '6s', 'scale-to-zero-pod-retention-period': '1m' }), {});
    assert.equal(s.idleToZeroMs, 66_000);
    assert.equal(settingsOf(scaling({ window: '10s' }), {}).panicWindowMs, 1000);
  });

  it('never goes to zero where that is switched off', () => {
    const off = { ...knativeDefaults, enableScaleToZero: false };
    assert.equal(settingsOf({ 'ebb.dev/scale-to-zero-after': '10s' }, {}, off).idleToZeroMs, undefined);
  });

  it('falls back to the default for what is unreadable or out of bounds', () => {
    const junk = scaling({
      'min-scale': '-1',
      'max-scale': '1e9',
      'initial-scale': '1.5',
      target: 'NaN',
      window: '2s',
      'panic-threshold-percentage': '5',
      'target-utilization-percentage': '0',
      'scale-down-delay': '2h',
    });
    assert.deepEqual(settingsOf({ ...junk, 'ebb.dev/scale-to-zero-after': 'soon' }, {}), settingsOf({}, {}));
  });
});
