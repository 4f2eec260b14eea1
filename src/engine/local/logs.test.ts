import { afterEach, beforeEach, test } from 'node:test';
import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, readdir, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogOptions } from '../engine.ts';
import { CriJoiner, parseCriEntry } from './cri-log.ts';
import { LogFiles } from './log-files.ts';
import { readLogs } from './logs.ts';

let dir = '';
let where = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ebb-logs-'));
  where = join(dir, 'default', 'hi', 'hi-00001');
  await mkdir(where, { recursive: true });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const entry = (second: number, text: string, tag = 'F') =>
  `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000000+00:00 stdout ${tag} ${text}\n`;

function read(options: Partial<LogOptions>, onInstance = (_listener: () => void) => {}) {
  return readLogs(
    { of: { workload: 'default/hi-00001' }, signal: AbortSignal.timeout(10_000), ...options },
    {
      files: new LogFiles(dir),
      containerOf: () => 'user-container',
      onInstance: (listener) => {
        onInstance(listener);
        return { [Symbol.dispose]() {} };
      },
      ended: new AbortController().signal,
    },
  );
}

async function texts(options: Partial<LogOptions>): Promise<string[]> {
  const seen = [];
  for await (const line of read(options)) seen.push(line.text);
  return seen;
}

test('entries and partial lines', () => {
  assert.equal(parseCriEntry('nonsense'), undefined);
  assert.equal(parseCriEntry(entry(1, '').trimEnd())?.text, '');
  const joiner = new CriJoiner();
  const text = entry(1, 'a', 'P') + entry(2, 'b') + entry(3, 'c', 'P');
  const lines = [...joiner.push(text.slice(0, 20)), ...joiner.push(text.slice(20)), ...joiner.flush()];
  assert.deepEqual(
    lines.map((l) => l.text),
    ['ab', 'c'],
  );
  assert.equal(lines[0]?.time, '2026-01-01T00:00:01.000000000+00:00');
});

test('merges instances and rotated files by time; tail and since', async () => {
  await writeFile(join(where, 'a.log.1'), entry(1, 'a1'));
  await writeFile(join(where, 'a.log'), entry(3, 'a3') + entry(5, 'a5'));
  await writeFile(join(where, 'b.log'), entry(2, 'b2') + entry(4, 'b4'));
  assert.deepEqual(await texts({}), ['a1', 'b2', 'a3', 'b4', 'a5']);
  assert.deepEqual(await texts({ tailLines: 2 }), ['b4', 'a5']);
  assert.deepEqual(await texts({ tailLines: 0 }), []);
  assert.deepEqual(await texts({ sinceMs: Date.parse('2026-01-01T00:00:04Z') }), ['b4', 'a5']);
  assert.deepEqual(await texts({ of: { instance: 'b' } }), ['b2', 'b4']);
  assert.deepEqual(await texts({ of: { namespace: 'default', service: 'hi' } }), ['a1', 'b2', 'a3', 'b4', 'a5']);
  assert.deepEqual(await texts({ of: { namespace: 'default', service: 'other' } }), []);
  await assert.rejects(texts({ of: { namespace: '..', service: 'hi' } }), { code: 'InvalidLogSelection' });
});

test('follows through rotation, truncation and new instances', async () => {
  const path = join(where, 'a.log');
  await writeFile(path, entry(1, 'one'));
  const lines = read({ follow: true });
  const take = async () => (await lines.next()).value?.text;
  assert.equal(await take(), 'one');
  const next = take();
  await appendFile(path, entry(2, 'two'));
  assert.equal(await next, 'two');
  await rename(path, `${path}.1`);
  await appendFile(`${path}.1`, entry(3, 'late'));
  const late = take();
  assert.equal(await late, 'late');
  await writeFile(path, entry(4, 'fresh'));
  assert.equal(await take(), 'fresh');
  await writeFile(join(where, 'b.log'), entry(5, 'other'));
  assert.equal(await take(), 'other');
  await truncate(path);
  await appendFile(path, entry(6, 'x'));
  assert.equal(await take(), 'x');
  await lines.return(undefined);
});

test('keeps the logs of past instances within bounds, and never touches those of live ones', async () => {
  const logs = new LogFiles(dir);
  for (let i = 0; i < 30; i++) await writeFile(join(where, `past${i}.log`), entry(1, 'x'));
  await writeFile(join(where, 'live.log'), entry(1, 'x'));
  const owner = { namespace: 'default', service: 'hi', revision: 'hi-00001', instance: 'past0' };
  await logs.retain(owner, (instance) => instance === 'live');
  const left = await readdir(where);
  assert.equal(left.length, 21);
  assert.ok(left.includes('live.log'));
});

test('last lines of a log', async () => {
  const logs = new LogFiles(dir);
  const path = join(where, 'a.log');
  assert.deepEqual(await logs.lastLines(path, 20), []);
  await writeFile(path, Array.from({ length: 5000 }, (_, i) => entry(1, `line ${i}`)).join('') + entry(2, 'cut', 'P'));
  assert.deepEqual(await logs.lastLines(path, 2), ['line 4999', 'cut']);
});
