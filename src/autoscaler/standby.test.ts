import assert from 'node:assert/strict';
import { it } from 'node:test';
import { chooseStandbys } from './standby.ts';

const candidates = [
  { revision: 'a', reachable: true, lastUsedMs: 1 },
  { revision: 'b', reachable: false, lastUsedMs: 9 },
  { revision: 'c', reachable: true, lastUsedMs: 3 },
  { revision: 'd', reachable: true, lastUsedMs: 2 },
  { revision: 'e', reachable: true, lastUsedMs: 2 },
];

it('gives one to every revision with traffic while there is room', () => {
  assert.deepEqual([...chooseStandbys(candidates, 10)].sort(), ['a', 'c', 'd', 'e']);
});

it('prefers the most recently used within the budget', () => {
  assert.deepEqual([...chooseStandbys(candidates, 2)], ['c', 'd']);
  assert.deepEqual([...chooseStandbys(candidates, 0)], []);
});
