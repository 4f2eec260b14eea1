import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MetricWindow } from './windows.ts';

const minute = 60_000;

describe('MetricWindow', () => {
  it('averages since the first value while the window is not full', () => {
    const window = new MetricWindow(minute);
    assert.equal(window.average(10_000, minute), 0);
    window.add(10_000, 4);
    assert.equal(window.average(10_500, minute), 4);
    window.add(11_000, 8);
    assert.equal(window.average(11_900, minute), 6);
  });

  it('counts seconds without a report as 0', () => {
    const window = new MetricWindow(minute);
    window.add(0, 6);
    assert.equal(window.average(2000, minute), 2);
    assert.equal(window.average(59_000, minute), 0.1);
  });

  it('forgets what has left the window, and only that', () => {
    const window = new MetricWindow(minute);
    for (let s = 0; s < 120; s++) window.add(s * 1000, s < 90 ? 1 : 7);
    assert.equal(window.average(119_000, minute), 4);
    assert.equal(window.average(119_000, 6000), 7);
    assert.equal(window.average(119_000 + minute, minute), 0);
  });

  it('sums what falls into one second and ignores what is older than the ring', () => {
    const window = new MetricWindow(5000);
    window.add(100_000, 1);
    window.add(100_400, 2);
    window.add(1000, 1000);
    assert.equal(window.average(100_900, 5000), 3);
  });

  it('agrees with the plain definition', () => {
    const reports = fc.array(
      fc.record({ gap: fc.integer({ min: 0, max: 9 }), value: fc.integer({ min: 0, max: 50 }) }),
      {
        minLength: 1,
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(reports, fc.integer({ min: 0, max: 15 }), fc.integer({ min: 1, max: 12 }), (list, later, seconds) => {
        const window = new MetricWindow(12_000);
        const bySecond = new Map<number, number>();
        let at = 1000;
        for (const { gap, value } of list) {
          at += gap;
          window.add(at * 1000, value);
          bySecond.set(at, (bySecond.get(at) ?? 0) + value);
        }
        const now = at + later;
        const span = Math.min(seconds, now - (1000 + (list[0]?.gap ?? 0)) + 1);
        let sum = 0;
        for (let s = now - span + 1; s <= now; s++) sum += bySecond.get(s) ?? 0;
        assert.equal(window.average(now * 1000, seconds * 1000), sum / span);
      }),
    );
  });
});
