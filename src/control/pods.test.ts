import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Instance } from '../engine/engine.ts';
import { podOf } from './pods.ts';

const instance: Instance = {
  id: 'hi-00001-abc',
  workload: 'default/hi-00001',
  service: 'hi',
  address: { host: '10.0.0.2', port: 8080 },
  createdAtMs: 0,
  startedAtMs: 1000,
  restarts: 3,
  status: { state: 'ready', sinceMs: 2000 },
};

test('a Pod counts the instances that failed in its place as restarts of its container', () => {
  const { status } = podOf(instance, undefined) as unknown as {
    status: { containerStatuses: { restartCount: number }[] };
  };
  assert.equal(status.containerStatuses[0]?.restartCount, 3);
});
