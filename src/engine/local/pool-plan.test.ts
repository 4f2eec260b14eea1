import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { backoffMs } from './backoff.ts';
import { grantStandbys, planPool, standbySlots, type PlannedCell, type PoolView } from './pool-plan.ts';

const cell = (id: string, phase: PlannedCell['phase'], startedAtMs = 0): PlannedCell => ({ id, phase, startedAtMs });
const view = (changes: Partial<PoolView>): PoolView => ({
  want: { instances: 0, standby: 0 },
  cells: [],
  nowMs: 1_000_000,
  retryAtMs: 0,
  standbyGrant: 10,
  room: 100,
  settleMs: 1000,
  ...changes,
});

const cases: [string, Partial<PoolView>, Partial<ReturnType<typeof planPool>>][] = [
  ['makes a standby', { want: { instances: 0, standby: 1 } }, { create: 1, start: [] }],
  [
    'starts the standby, and makes the next one later',
    { want: { instances: 1, standby: 1 }, cells: [cell('a', 'standby')] },
    { start: ['a'], create: 0, lookAgainAtMs: 1_001_000 },
  ],
  [
    'makes the next standby once the start has settled',
    { want: { instances: 1, standby: 1 }, cells: [cell('a', 'ready', 999_900)] },
    { create: 1, lookAgainAtMs: undefined },
  ],
  [
    'creates what no standby is there for',
    { want: { instances: 3, standby: 0 }, cells: [cell('a', 'standby')] },
    { start: ['a'], create: 2 },
  ],
  [
    'counts what is being created',
    { want: { instances: 2, standby: 0 }, cells: [cell('a', 'creating')] },
    { create: 1 },
  ],
  [
    'stops the unready first, then the youngest',
    {
      want: { instances: 1, standby: 0 },
      cells: [cell('old', 'ready', 1), cell('young', 'ready', 2), cell('new', 'starting', 0)],
    },
    { stop: ['new', 'young'] },
  ],
  [
    'takes no notice of what is ending',
    { want: { instances: 1, standby: 0 }, cells: [cell('a', 'ending')] },
    { create: 1, stop: [] },
  ],
  ['discards standbys nobody wants', { cells: [cell('a', 'standby'), cell('b', 'standby')] }, { discard: ['a', 'b'] }],
  [
    'keeps within the grant',
    { want: { instances: 0, standby: 3 }, standbyGrant: 1, cells: [cell('a', 'standby'), cell('b', 'standby')] },
    { discard: ['b'] },
  ],
  [
    'waits while backing off',
    { want: { instances: 1, standby: 1 }, retryAtMs: 1_002_000, cells: [cell('a', 'standby')] },
    { start: [], create: 0, lookAgainAtMs: 1_002_000 },
  ],
  ['keeps within the machine', { want: { instances: 5, standby: 5 }, room: 2 }, { create: 2 }],
];

for (const [name, input, expected] of cases)
  test(`pool plan: ${name}`, () => {
    const actions: Partial<ReturnType<typeof planPool>> = planPool(view(input));
    for (const [key, value] of Object.entries(expected))
      assert.deepEqual(actions[key as keyof typeof actions], value, key);
  });

const anyView = fc.record({
  want: fc.record({ instances: fc.nat(6), standby: fc.nat(3) }),
  phases: fc.array(
    fc.record({
      phase: fc.constantFrom('creating', 'standby', 'starting', 'ready', 'ending'),
      startedAtMs: fc.nat(2_000_000),
    }),
    { maxLength: 12 },
  ),
  retryAtMs: fc.nat(2_000_000),
  standbyGrant: fc.nat(4),
  room: fc.nat(8),
});

test('pool plan: never more than wanted, never beyond the machine, nothing twice', () => {
  fc.assert(
    fc.property(anyView, ({ phases, ...rest }) => {
      const cells = phases.map((p, i) => cell(String(i), p.phase as PlannedCell['phase'], p.startedAtMs));
      const v = view({ ...rest, cells });
      const actions = planPool(v);
      const count = (...wanted: string[]) => cells.filter((c) => wanted.includes(c.phase)).length;
      const running = count('starting', 'ready') + actions.start.length - actions.stop.length;
      assert.ok(actions.start.length === 0 || running <= v.want.instances);
      assert.ok(running >= Math.min(count('starting', 'ready'), v.want.instances));
      assert.ok(actions.create <= v.room);
      const all = count('creating', 'standby', 'starting', 'ready') + actions.create - actions.stop.length;
      assert.ok(actions.create === 0 || all <= v.want.instances + Math.min(v.want.standby, v.standbyGrant));
      const touched = [...actions.start, ...actions.stop, ...actions.discard];
      assert.equal(new Set(touched).size, touched.length);
      if (v.nowMs < v.retryAtMs) assert.equal(actions.start.length + actions.create, 0);
      assert.ok(actions.create === 0 || actions.discard.length === 0);
    }),
  );
});

test('pool plan: carried out, it comes to rest at what is wanted', () => {
  fc.assert(
    fc.property(anyView, ({ phases, ...rest }) => {
      let cells = phases.map((p, i) => cell(String(i), p.phase as PlannedCell['phase'], p.startedAtMs));
      const v = { ...rest, retryAtMs: 0, room: 100, standbyGrant: 10 };
      let made = 100;
      for (let round = 0; round < 6; round++) {
        const nowMs = 10_000_000 + round * 2000;
        const actions = planPool(view({ ...v, cells, nowMs }));
        const gone = new Set([...actions.stop, ...actions.discard]);
        cells = cells.filter((c) => !gone.has(c.id) && c.phase !== 'ending');
        cells = cells.map((c) =>
          c.phase === 'creating'
            ? cell(c.id, 'standby')
            : c.phase === 'starting'
              ? cell(c.id, 'ready', c.startedAtMs)
              : c,
        );
        cells = cells.map((c) => (actions.start.includes(c.id) ? cell(c.id, 'starting', nowMs) : c));
        for (let i = 0; i < actions.create; i++) cells.push(cell(String(made++), 'creating'));
      }
      const count = (phase: string) => cells.filter((c) => c.phase === phase).length;
      assert.deepEqual(
        [count('ready'), count('standby'), cells.length],
        [v.want.instances, v.want.standby, v.want.instances + v.want.standby],
      );
    }),
  );
});

test('standbys: the most recently used first, one each before a second', () => {
  const grants = grantStandbys(
    [
      { key: 'old', wanted: 1, lastUsedMs: 1 },
      { key: 'new', wanted: 2, lastUsedMs: 3 },
      { key: 'mid', wanted: 1, lastUsedMs: 2 },
    ],
    2,
  );
  assert.deepEqual(
    [...grants],
    [
      ['new', 1],
      ['mid', 1],
      ['old', 0],
    ],
  );
});

test('standbys make room for instances that are wanted', () => {
  const slots = (wantedInstances: number) =>
    standbySlots({ budgetBytes: 256, bytesEach: 2, maxInstances: 900, wantedInstances });
  assert.deepEqual([0, 772, 800, 900, 1000].map(slots), [128, 128, 100, 0, 0]);
});

test('back-off doubles from 1 s to 5 min', () => {
  assert.deepEqual([0, 1, 2, 3, 9, 10, 1000].map(backoffMs), [0, 1000, 2000, 4000, 256_000, 300_000, 300_000]);
});
