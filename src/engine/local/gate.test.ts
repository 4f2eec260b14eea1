import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Gate } from './gate.ts';

test('a gate lets so many through at a time, in order, failures too', async () => {
  const gate = new Gate(2);
  let inside = 0;
  let most = 0;
  const order: number[] = [];
  const task = (n: number) =>
    gate.run(async () => {
      most = Math.max(most, ++inside);
      order.push(n);
      await Promise.resolve();
      inside--;
      if (n === 3) throw new Error('no');
    });
  const results = await Promise.allSettled([1, 2, 3, 4, 5, 6].map(task));
  assert.deepEqual(order, [1, 2, 3, 4, 5, 6]);
  assert.equal(most, 2);
  assert.equal(results.filter((r) => r.status === 'rejected').length, 1);
});
