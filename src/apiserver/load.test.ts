import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import { kinds } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import { createApp } from './app.ts';
import { bearerToken } from './token.ts';

const path = '/api/v1/namespaces/default/configmaps';
const configMap = (name: string, value: string): KubeObject =>
  Object.assign(
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } },
    { data: { value, filling: 'x'.repeat(500) } },
  );

async function setUp() {
  const clock = new FakeClock();
  const store = await openSqliteStore({ file: ':memory:', clock });
  await store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } });
  const stop = new AbortController();
  const app = createApp({
    ...{ store, kinds, clock, views: {}, logger: silentLogger, version: '0', signal: stop.signal },
    authenticate: bearerToken('secret'),
  });
  const get = async (query: string) => {
    const response = await app.request(`${path}?${query}`, { headers: { authorization: 'Bearer secret' } });
    assert.equal(response.status, 200);
    return response;
  };
  const dispose = async () => {
    stop.abort();
    await store[Symbol.asyncDispose]();
  };
  return { store, get, [Symbol.asyncDispose]: dispose };
}

describe('many', () => {
  it('objects are listed in pages of one moment, whatever is written between', async () => {
    await using t = await setUp();
    for (let i = 0; i < 10_000; i++) await t.store.create(configMap(`c${i}`, 'before'));
    const seen = new Map<string, string>();
    let next: string | undefined = '';
    for (let page = 0; next !== undefined; page++) {
      const response = await t.get(`limit=500&continue=${encodeURIComponent(next)}`);
      const list = (await response.json()) as {
        metadata: { continue?: string };
        items: { metadata: { name: string }; data: { value: string } }[];
      };
      for (const { metadata, data } of list.items) {
        assert.ok(!seen.has(metadata.name), metadata.name);
        seen.set(metadata.name, data.value);
      }
      next = list.metadata.continue;
      await t.store.create(configMap(`late${page}`, 'late'));
      await t.store.update(configMap(`c${9999 - page}`, 'after'));
    }
    assert.equal(seen.size, 10_000);
    assert.deepEqual(new Set(seen.values()), new Set(['before']));
  });

  it('watchers that do not read hold nothing up, keep nothing in memory, and miss nothing when they do', async () => {
    await using t = await setUp();
    const changes = 2000;
    const responses = await Promise.all(
      Array.from({ length: 200 }, () => t.get('watch=1&resourceVersion=1&timeoutSeconds=3600')),
    );
    const before = process.memoryUsage().rss;
    await t.store.create(configMap('c', '0'));
    for (let i = 1; i < changes; i++) await t.store.update(configMap('c', String(i)));
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    // 2,000 events of 0.7 kB for each of 200 watchers would be 280 MB.
    assert.ok(grown < 100, `${grown} MB`);

    for (const response of responses.slice(0, 5)) {
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader(); // a watch always has a body
      for (let i = 0; i < changes; i++) {
        const { value } = await reader.read();
        const { type, object } = JSON.parse(value ?? '{}') as { type: string; object: { data: { value: string } } };
        assert.deepEqual([type, object.data.value], [i === 0 ? 'ADDED' : 'MODIFIED', String(i)]);
      }
      await reader.cancel();
    }
    await Promise.all(responses.slice(5).map((response) => response.body?.cancel()));
  });
});
