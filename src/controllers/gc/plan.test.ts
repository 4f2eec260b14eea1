import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import type { Revision } from '../../resources/index.ts';
import { keys } from '../names.ts';
import { knativeGc, planGc } from './plan.ts';

const hourMs = 3_600_000;
const nowMs = Date.parse('2026-01-31T00:00:00Z');
const reserve = (
  name: string,
  createdHoursAgo: number,
  activeHoursAgo: number,
  more: Partial<Revision['metadata']> = {},
): Revision => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Revision',
  spec: { containers: [] },
  metadata: {
    name,
    labels: { [keys.routingState]: 'reserve' },
    creationTimestamp: new Date(nowMs - createdHoursAgo * hourMs).toISOString(),
    annotations: { [keys.routingStateModified]: new Date(nowMs - activeHoursAgo * hourMs).toISOString() },
    ...more,
  },
});
const removed = (revisions: Revision[], settings = {}, kept: string[] = []) =>
  planGc(revisions, kept, nowMs, { ...knativeGc, minNonActive: 0, ...settings }).remove.map((r) => r.metadata.name);

it('deletes what is old and long inactive, the least recently active first', () => {
  assert.deepEqual(
    removed([reserve('a', 60, 20), reserve('b', 60, 30), reserve('new', 40, 20), reserve('warm', 60, 10)]),
    ['b', 'a'],
  );
});

it('keeps a number of them, the latest ones and what is marked', () => {
  const old = ['a', 'b', 'c'].map((name, i) => reserve(name, 100, 100 - i));
  assert.deepEqual(removed(old, { minNonActive: 2 }), ['a']);
  assert.deepEqual(removed(old, {}, ['a', 'c']), ['b']);
  assert.deepEqual(removed([reserve('x', 100, 100, { annotations: { [keys.noGc]: 'true' } })]), []);
  assert.deepEqual(removed([reserve('x', 100, 100, { labels: { [keys.routingState]: 'active' } })]), []);
});

it('deletes beyond the maximum whatever the age', () => {
  const young = ['a', 'b', 'c'].map((name, i) => reserve(name, 1, 1 - i / 10));
  assert.deepEqual(removed(young, { maxNonActive: 2 }), ['a']);
  assert.deepEqual(removed(young, { maxNonActive: undefined, sinceCreateMs: undefined, sinceActiveMs: undefined }), []);
});

it('says when to look again', () => {
  const plan = planGc([reserve('a', 40, 40), reserve('b', 47, 40)], [], nowMs, { ...knativeGc, minNonActive: 0 });
  assert.deepEqual(plan, { remove: [], nextAtMs: nowMs + hourMs });
});

it('never goes below the minimum', () => {
  const ages = fc.array(fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 200 })), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(ages, fc.nat(30), fc.nat(40), (list, minNonActive, maxNonActive) => {
      const revisions = list.map(([c, a], i) => reserve(`r${i}`, c, a));
      const { remove } = planGc(revisions, [], nowMs, { ...knativeGc, minNonActive, maxNonActive });
      assert.ok(revisions.length - remove.length >= Math.min(minNonActive, revisions.length));
    }),
  );
});
