import { test } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { FakeClock } from '../../platform/clock.ts';
import type { Probe } from '../../resources/index.ts';
import { watchHealth } from './health.ts';

/** An instance whose exec probes give what `passes` says, under a clock of its own. */
function watched(t: { signal: AbortSignal }, readinessProbe: Probe, port = 1) {
  const clock = new FakeClock();
  const seen: string[] = [];
  const instance = { passes: true, attempts: 0 };
  const exec = async () => {
    instance.attempts++;
    return instance.passes;
  };
  watchHealth(
    { image: 'x', readinessProbe },
    { host: '127.0.0.1', port, exec },
    clock,
    { ready: () => seen.push('ready'), notReady: () => seen.push('not ready'), dead: (probe) => seen.push(probe) },
    t.signal,
  );
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      await setImmediate();
      clock.advance(50);
    }
    await setImmediate();
  };
  return { instance, seen, pass };
}

const command = { command: ['probe'] };

test('what was ready is looked at again: every period, or every 10 s when it is the aggressive 0', async (t) => {
  for (const [periodSeconds, afterMs] of [
    [0, 30_000],
    [1, 3_000],
  ] as const) {
    const { instance, seen, pass } = watched(t, { exec: command, periodSeconds });
    await pass(1000);
    assert.deepEqual(seen, ['ready']);
    instance.passes = false;
    await pass(afterMs / 3);
    assert.deepEqual(seen, ['ready'], 'one failure is not enough');
    await pass(afterMs);
    assert.deepEqual(seen, ['ready', 'not ready'], `period ${periodSeconds}`);
    instance.passes = true;
    await pass(1000);
    assert.deepEqual(seen, ['ready', 'not ready', 'ready']);
  }
});

test('the default probe, which only connects, is not repeated', async (t) => {
  let connections = 0;
  const server = createServer((socket) => void (connections++, socket.destroy())).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { seen, pass } = watched(t, { tcpSocket: {}, periodSeconds: 0 }, (server.address() as AddressInfo).port);
  while (seen.length === 0 || connections === 0) await pass(50);
  await pass(60_000);
  assert.equal(connections, 1);
  assert.deepEqual(seen, ['ready']);
});
