import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Container } from '../../resources/index.ts';
import { describeExit, type EndCause } from './exit-report.ts';
import { limitsOf } from './limits.ts';
import { diagnose, parseListeners } from './listeners.ts';
import { formatBytes } from '../../platform/quantity.ts';
import { quantityOf } from './quantity.ts';

test('quantities as Kubernetes writes them', () => {
  const cases: [string, number][] = [
    ['500m', 0.5],
    ['1', 1],
    ['.5', 0.5],
    ['256Mi', 256 * 2 ** 20],
    ['1G', 1e9],
    ['1e3', 1000],
    ['2Ki', 2048],
  ];
  for (const [text, value] of cases) assert.equal(quantityOf(text, 'x'), value, text);
  for (const text of ['', '1MB', '-1', '1 Gi', 'Mi', '1e9999', '0x10'])
    assert.throws(() => quantityOf(text, 'resources.limits.cpu'), { code: 'InvalidQuantity' }, text);
  assert.equal(formatBytes(64 * 2 ** 20), '64Mi');
  assert.equal(formatBytes(1001), '1001');
});

test('limits have defaults and a floor', () => {
  assert.deepEqual(limitsOf({ image: 'x' }), {
    memoryBytes: 2 ** 29,
    cpuMillis: undefined,
    cpuShares: 1024,
    pids: 1024,
  });
  const shares = (resources: NonNullable<Container['resources']>) => limitsOf({ image: 'x', resources }).cpuShares;
  assert.equal(shares({ requests: { cpu: '125m' }, limits: { cpu: '1' } }), 128, 'what is asked for decides');
  assert.equal(shares({ limits: { cpu: '500m' } }), 512);
  assert.equal(shares({ requests: { cpu: '1m' } }), 2, 'the least that the kernel takes');
  assert.equal(shares({ requests: { cpu: '10000' } }), 262_144, 'the most');
  const limits = limitsOf({ image: 'x', resources: { limits: { cpu: '1m', memory: '64Mi' } } });
  assert.deepEqual(limits, { memoryBytes: 2 ** 26, cpuMillis: 10, cpuShares: 2, pids: 1024 });
  assert.throws(() => limitsOf({ image: 'x', resources: { limits: { memory: '1Mi' } } }), {
    code: 'MemoryLimitTooSmall',
  });
});

test('exits in words', () => {
  const say = (code: number | undefined, oomKills = 0, cause?: EndCause) => {
    const { reason, message } = describeExit({ code, oomKills, memoryBytes: 2 ** 26, cause });
    return `${reason}: ${message}`;
  };
  assert.equal(say(1), 'Error: exited with code 1');
  assert.equal(say(0), 'Completed: exited with code 0; a service must keep running');
  assert.equal(say(139), 'Error: killed by SIGSEGV (exit code 139)');
  assert.equal(say(127), 'Error: exited with code 127: command not found');
  assert.equal(say(137, 1), 'OOMKilled: killed: used more than its 64Mi of memory');
  assert.equal(say(143, 0, { reason: 'Stopped' }), 'Stopped: stopped');
  assert.equal(say(137, 0, { reason: 'LivenessFailed', message: 'so' }), 'LivenessFailed: so');
  assert.match(say(undefined), /^Lost: /);
});

test('listening sockets tell why nobody answers', () => {
  const head = '  sl  local_address rem_address   st tx_queue\n';
  const row = (address: string, port: number, state = '0A') =>
    `   0: ${address}:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 ${state} 00000000:00000000\n`;
  const say = (...rows: string[]) => diagnose(parseListeners(head + rows.join('')), 8080);
  assert.equal(say(row('0100007F', 8080)), 'listens on 127.0.0.1:8080 only; it must listen on 0.0.0.0:$PORT');
  assert.equal(
    say(row('00000000000000000000000001000000', 8080)),
    'listens on [::1]:8080 only; it must listen on 0.0.0.0:$PORT',
  );
  assert.equal(say(row('00000000', 3000)), 'listens on port 3000, but PORT is 8080');
  assert.equal(say(row('0100007F', 3000)), 'listens on 127.0.0.1:3000, but PORT is 8080');
  assert.equal(say(row('00000000', 8080)), undefined);
  assert.equal(say(row('00000000000000000000000000000000', 8080)), undefined);
  assert.equal(say(row('00000000', 3000, '01')), undefined);
  assert.equal(say(), undefined);
});
