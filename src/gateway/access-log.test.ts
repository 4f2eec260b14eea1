import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import { AccessLog } from './access-log.ts';
import type { AccessRecord } from './context.ts';
import { FieldNames, HeadError, requestRoles } from './http1/fields.ts';
import { readRequestHead } from './http1/request-head.ts';
import { Rig } from './testing/rig.ts';

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-access-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

function record(target: string): AccessRecord {
  const head = readRequestHead(
    new FieldNames(requestRoles),
    `GET ${target} HTTP/1.1\r\nHost: a\r\nUser-Agent: "x\\\t\xe4\r\n`,
  );
  assert.ok(!(head instanceof HeadError));
  return {
    exchange: { head, requestId: 'id' },
    address: '127.0.0.1',
    revision: 'default/a',
    instance: 'i1',
    status: 200,
    reason: undefined,
    cold: true,
    queueMs: 1.23456,
    connectMs: 0,
    firstByteMs: 2,
    totalMs: 3,
    bytesIn: 0,
    bytesOut: 12,
  };
}

test('every line is JSON, whatever the client sent', async (t) => {
  const path = join(await folder(t), 'access.log');
  await using log = new AccessLog(path, { clock: new FakeClock(), logger: silentLogger });
  log.add(record('/"\\\xff{}'));
  await log.flush();
  const line = JSON.parse(readFileSync(path, 'utf8'));
  assert.equal(line.path, '/"\\\xff{}');
  assert.equal(line.userAgent, '"x\\\t\xe4');
  assert.equal(line.queueMs, 1.235);
  assert.equal(line.cold, true);
});

test('a head that could not be read is a line too', async (t) => {
  const path = join(await folder(t), 'access.log');
  await using log = new AccessLog(path, { clock: new FakeClock(), logger: silentLogger });
  await using rig = await Rig.start({ accessLog: log });
  using client = await rig.client();
  client.send('GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n');
  const answer = await client.end();
  await log.flush();
  const line = JSON.parse(readFileSync(path, 'utf8'));
  assert.deepEqual(
    [line.status, line.reason, line.client, line.path, line.revision],
    [400, 'BadRequest', '127.0.0.1', undefined, undefined],
  );
  assert.ok(answer.includes(`X-Request-Id: ${line.id}\r\n`));
});

test('times have three decimals and seconds turn', async (t) => {
  const path = join(await folder(t), 'access.log');
  const clock = new FakeClock(Date.UTC(2026, 0, 1) - 2);
  await using log = new AccessLog(path, { clock, logger: silentLogger });
  for (const queueMs of [0, 0.0004, 0.02, 12.3456, 1000]) {
    log.add({ ...record('/'), queueMs });
    clock.advance(1);
  }
  await log.flush();
  const lines = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
  assert.deepEqual(
    lines.map((line) => line.queueMs),
    [0, 0, 0.02, 12.346, 1000],
  );
  assert.deepEqual(lines.map((line) => line.time).slice(1, 3), [
    '2025-12-31T23:59:59.999Z',
    '2026-01-01T00:00:00.000Z',
  ]);
});

test('more than a page of lines arrives whole and in order', async (t) => {
  const path = join(await folder(t), 'access.log');
  await using log = new AccessLog(path, { clock: new FakeClock(), logger: silentLogger });
  for (let i = 0; i < 3000; i++) log.add(record(`/${i}${'\xe4'.repeat(i % 50)}`));
  await log.flush();
  for (let i = 3000; i < 3010; i++) log.add(record(`/${i}`));
  await log.flush();
  const paths = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((text) => Number.parseInt(JSON.parse(text).path.slice(1), 10));
  assert.deepEqual(
    paths,
    Array.from({ length: 3010 }, (_, i) => i),
  );
});

test('rotates by size and keeps a few', async (t) => {
  const dir = await folder(t);
  await using log = new AccessLog(join(dir, 'access.log'), {
    clock: new FakeClock(),
    logger: silentLogger,
    maxBytes: 1000,
    keep: 2,
  });
  for (let i = 0; i < 30; i++) {
    log.add(record(`/${i}`));
    await log.flush();
  }
  assert.deepEqual(
    readdirSync(dir)
      .filter((f) => f !== 'access.log')
      .sort(),
    ['access.log.1', 'access.log.2'],
  );
});

test('drops and counts when the disk is too slow; a failing disk ends nothing', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'access.log');
  await using log = new AccessLog(path, { clock: new FakeClock(), logger: silentLogger, maxBufferedBytes: 500 });
  for (let i = 0; i < 100; i++) log.add(record('/'));
  await log.flush();
  const lines = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l));
  assert.equal(lines.length - 1 + lines.at(-1).dropped, 100);
  await using nowhere = new AccessLog(join(dir, 'no', 'such', 'folder'), {
    clock: new FakeClock(),
    logger: silentLogger,
  });
  nowhere.add(record('/'));
  await nowhere.flush();
});
