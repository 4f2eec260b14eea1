import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { FakeClock, systemClock } from '../../platform/clock.ts';
import type { EbbError } from '../../platform/errors.ts';
import type { KubeObject } from '../../resources/index.ts';
import { collect, resourceStoreContract } from '../contract.ts';
import type { ResourceStore } from '../store.ts';
import { openSqliteStore } from './store.ts';

resourceStoreContract('the SQLite store', () => openSqliteStore({ file: ':memory:', clock: systemClock }));

const kind = { group: 'serving.knative.dev', kind: 'Configuration' };
const key = (name: string) => ({ ...kind, namespace: 'default', name });
const thing = (name: string, size: number): KubeObject & { spec: { size: number } } => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Configuration',
  metadata: { name, namespace: 'default' },
  spec: { size },
});

async function withFile(body: (file: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-store-'));
  try {
    await body(join(dir, 'state.db'));
  } finally {
    await rm(dir, { recursive: true });
  }
}

describe('the SQLite store on disk', () => {
  it('keeps everything over a restart, readable by its owner alone', () =>
    withFile(async (file) => {
      const first = await openSqliteStore({ file, clock: systemClock });
      const created = await first.create(thing('a', 1));
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      assert.equal((await stat(`${file}-wal`)).mode & 0o777, 0o600);
      await first[Symbol.asyncDispose]();
      await using second = await openSqliteStore({ file, clock: systemClock });
      assert.deepEqual(await second.get(key('a')), created);
      const abort = new AbortController();
      const events = collect(second, { signal: abort.signal, fromVersion: '0' });
      assert.deepEqual(await events.next(1), ['ADDED a 1']);
      abort.abort();
    }));

  it('ends its watches and refuses work when it is closed', () =>
    withFile(async (file) => {
      const store = await openSqliteStore({ file, clock: systemClock });
      const events = collect(store, { signal: new AbortController().signal });
      assert.deepEqual(await events.next(1), ['BOOKMARK']);
      const end = events.next(1);
      await store[Symbol.asyncDispose]();
      assert.deepEqual(await end, ['END']);
      await assert.rejects(store.get(key('a')), (e: EbbError) => e.code === 'StoreClosed');
    }));

  it('refuses a file that is no database, and one that is damaged', () =>
    withFile(async (file) => {
      await writeFile(file, 'not a database at all, but long enough to be taken for one'.repeat(100));
      const refused = (e: EbbError) => e.code === 'StoreCorrupt' && e.message.includes(file);
      await assert.rejects(openSqliteStore({ file, clock: systemClock }), refused);
      await rm(file);
      const store = await openSqliteStore({ file, clock: systemClock });
      for (let i = 0; i < 200; i++) await store.create(thing(`a${i}`, i));
      await store[Symbol.asyncDispose]();
      const bytes = await readFile(file);
      bytes.fill(0x5a, 8192, 8192 + 4096 * 4);
      await writeFile(file, bytes);
      await assert.rejects(openSqliteStore({ file, clock: systemClock }), refused);
    }));

  it('refuses a database of a newer Ebb', () =>
    withFile(async (file) => {
      await (await openSqliteStore({ file, clock: systemClock }))[Symbol.asyncDispose]();
      const db = new DatabaseSync(file);
      db.exec("INSERT INTO migrations VALUES (99, 'tomorrow')");
      db.close();
      await assert.rejects(openSqliteStore({ file, clock: systemClock }), (e: EbbError) => e.code === 'StoreTooNew');
    }));
});

describe('the history of the SQLite store', () => {
  it('is bounded: a watch that starts or falls behind it is Expired', async () => {
    await using store = await openSqliteStore({ file: ':memory:', clock: systemClock, history: 20 });
    const abort = new AbortController();
    const slow = collect(store, { signal: abort.signal });
    assert.deepEqual(await slow.next(1), ['BOOKMARK']);
    await store.create(thing('a', 0));
    for (let i = 1; i < 100; i++) await store.update(thing('a', i));
    await assert.rejects(slow.next(1), (e: EbbError) => e.code === 'Expired' && e.status === 410);
    const old = collect(store, { signal: abort.signal, fromVersion: '3' });
    await assert.rejects(old.next(1), (e: EbbError) => e.code === 'Expired');
    const recent = collect(store, { signal: abort.signal, fromVersion: '98' });
    assert.deepEqual(await recent.next(2), ['MODIFIED a 98', 'MODIFIED a 99']);
    abort.abort();
  });

  it('tells a quiet watch how far the store has moved on', async () => {
    const clock = new FakeClock();
    await using store = await openSqliteStore({ file: ':memory:', clock });
    const abort = new AbortController();
    const quiet = store.watch(kind, { signal: abort.signal })[Symbol.asyncIterator]();
    assert.deepEqual((await quiet.next()).value, { type: 'BOOKMARK', resourceVersion: '0' });
    const next = quiet.next();
    await store.create({ ...thing('a', 1), kind: 'Route' });
    clock.advance(60_000);
    assert.deepEqual((await next).value, { type: 'BOOKMARK', resourceVersion: '1' });
    abort.abort();
  });
});

type Op =
  | { op: 'create' | 'delete' | 'foreground'; name: string; owner: string | undefined; finalizer: boolean }
  | { op: 'update' | 'status'; name: string; size: number }
  | { op: 'release'; name: string };

const name = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const op: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    op: fc.constantFrom('create' as const, 'delete' as const, 'foreground' as const),
    name,
    owner: fc.option(name, { nil: undefined }),
    finalizer: fc.boolean(),
  }),
  fc.record({ op: fc.constantFrom('update' as const, 'status' as const), name, size: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ op: fc.constant('release' as const), name }),
);

async function apply(store: ResourceStore, step: Op): Promise<void> {
  const current = await store.get<KubeObject & { spec?: object; status?: object }>(key(step.name));
  switch (step.op) {
    case 'create': {
      const owner = step.owner === undefined ? undefined : await store.get(key(step.owner));
      const object: KubeObject = thing(step.name, 0);
      if (step.finalizer) object.metadata.finalizers = ['ebb.dev/hold'];
      if (owner) {
        const { apiVersion, kind: ownerKind } = owner;
        const { name: ownerName, uid = '' } = owner.metadata;
        const reference = { apiVersion, kind: ownerKind, name: ownerName, uid, blockOwnerDeletion: true };
        object.metadata.ownerReferences = [reference];
      }
      return void (await store.create(object));
    }
    case 'update':
      return void (await store.update({ ...thing(step.name, step.size), metadata: { ...current!.metadata } }));
    case 'status':
      return void (await store.updateStatus({ ...current!, status: { seen: step.size } }));
    case 'release':
      return void (await store.update({ ...current!, metadata: { ...current!.metadata, finalizers: [] } }));
    case 'delete':
      return store.delete(key(step.name));
    case 'foreground':
      return store.delete(key(step.name), { propagation: 'Foreground' });
  }
}

describe('watching the SQLite store', () => {
  it('replays to exactly the same state, across reconnects, whatever happens', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(op, { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        async (steps, perConnection) => {
          await using store = await openSqliteStore({ file: ':memory:', clock: new FakeClock() });
          const replica = new Map<string, KubeObject>();
          for (const step of steps) await apply(store, step).catch(() => undefined); // NotFound, AlreadyExists: part of life
          const { resourceVersion } = await store.list(kind);

          let version = '0';
          let seen = 0;
          while (Number(version) < Number(resourceVersion)) {
            const abort = new AbortController();
            let left = perConnection;
            for await (const event of store.watch(kind, { signal: abort.signal, fromVersion: version })) {
              if (event.type === 'BOOKMARK') continue;
              const { name: n, resourceVersion: v = '' } = event.object.metadata;
              assert.ok(Number(v) > Number(version), 'in order, nothing twice');
              if (event.type === 'ADDED') assert.ok(!replica.has(n));
              else assert.ok(replica.has(n));
              if (event.type === 'MODIFIED') assert.deepEqual(event.previous, replica.get(n));
              if (event.type === 'DELETED') replica.delete(n);
              else replica.set(n, event.object);
              version = v;
              seen += 1;
              if (--left === 0 || v === resourceVersion) break;
            }
            abort.abort();
          }
          assert.equal(seen, Number(resourceVersion), 'every version is one event');
          const { items } = await store.list(kind);
          assert.deepEqual(
            [...replica.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
            items,
          );
          const uids = new Set(items.map((o) => o.metadata.uid));
          for (const o of items) {
            const owners = o.metadata.ownerReferences ?? [];
            const dying = o.metadata.deletionTimestamp !== undefined;
            assert.ok(owners.length === 0 || dying || owners.some((r) => uids.has(r.uid)), 'no orphan lives on');
            if (dying) assert.ok((o.metadata.finalizers ?? []).length > 0, 'nothing held by nothing');
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  it('shows any past version that it still knows as it was', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { maxLength: 30 }), fc.nat(), async (steps, cut) => {
        await using store = await openSqliteStore({ file: ':memory:', clock: new FakeClock() });
        await store.create(thing('0', 0)); // always first, so that there is a page before the rest
        const at = steps.length === 0 ? 0 : cut % steps.length;
        for (const step of steps.slice(0, at)) await apply(store, step).catch(() => undefined);
        const { items } = await store.list(kind);
        const first = await store.list(kind, { limit: 1 });
        for (const step of steps.slice(at)) await apply(store, step).catch(() => undefined);
        const rest = first.continueToken
          ? await store.list(kind, { continueToken: first.continueToken })
          : { items: [] };
        assert.deepEqual([...first.items, ...rest.items], items);
      }),
      { numRuns: 100 },
    );
  });
});
