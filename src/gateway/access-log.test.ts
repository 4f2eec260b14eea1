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
