import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { EbbError } from '../platform/errors.ts';
import type { KubeObject, ObjectMeta } from '../resources/index.ts';
import type { ResourceStore, WatchEvent, WatchOptions } from './store.ts';

type Thing = KubeObject & { spec?: { size?: number }; status?: { seen?: number } };

/** The collection that the suite works in. A store over a real cluster must have these kinds. */
const kind = { group: 'serving.knative.dev', kind: 'Configuration' };

function thing(name: string, size = 1, metadata: Partial<ObjectMeta> = {}): Thing {
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: kind.kind,
    metadata: { namespace: 'default', ...metadata, name },
    spec: { size },
  };
}

const key = (name: string, namespace = 'default') => ({ ...kind, namespace, name });
const code = (expected: string) => (error: unknown) => (error as EbbError).code === expected;

/** The promise of {@link ResourceStore}, as tests: every implementation passes them. */
export function resourceStoreContract(name: string, open: () => Promise<ResourceStore>): void {
  void describe(`${name} keeps the contract of ResourceStore`, () => {
    const test = (title: string, body: (store: ResourceStore, signal: AbortSignal) => Promise<void>) =>
      void it(title, async () => {
        await using store = await open();
        const abort = new AbortController();
        try {
          await body(store, abort.signal);
        } finally {
          abort.abort();
        }
      });

    test('create gives identity, and get returns what was stored', async (store) => {
      const given = thing('a');
      const created = await store.create(given);
      assert.ok(created.metadata.uid);
      assert.equal(created.metadata.generation, 1);
      assert.match(created.metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.match(created.metadata.resourceVersion ?? '', /^\d+$/);
      assert.deepEqual(await store.get(key('a')), created);
      assert.deepEqual(given, thing('a'), 'the given object is untouched');
    });

    test('status is not taken on create, nor on update; updateStatus takes nothing else', async (store) => {
      const created = await store.create({ ...thing('a'), status: { seen: 9 } });
      assert.equal(created.status, undefined);
      const seen = await store.updateStatus({ ...created, spec: { size: 7 }, status: { seen: 1 } });
      assert.deepEqual(seen.spec, { size: 1 });
      assert.deepEqual(seen.status, { seen: 1 });
      const updated = await store.update({ ...seen, spec: { size: 2 }, status: { seen: 5 } });
      assert.deepEqual(updated.status, { seen: 1 });
      assert.deepEqual(updated.spec, { size: 2 });
    });

    test('generation moves with the spec alone', async (store) => {
      const a = await store.create(thing('a'));
      const labelled = await store.update({ ...a, metadata: { ...a.metadata, labels: { x: 'y' } } });
      assert.equal(labelled.metadata.generation, 1);
      const status = await store.updateStatus({ ...labelled, status: { seen: 1 } });
      assert.equal(status.metadata.generation, 1);
      const changed = await store.update({ ...status, spec: { size: 2 } });
      assert.equal(changed.metadata.generation, 2);
    });

    test('a write that changes nothing makes no version', async (store) => {
      const a = await store.create(thing('a'));
      assert.equal((await store.update(a)).metadata.resourceVersion, a.metadata.resourceVersion);
      assert.equal((await store.updateStatus(a)).metadata.resourceVersion, a.metadata.resourceVersion);
    });

    test('versions only grow, over all kinds', async (store) => {
      const a = await store.create(thing('a'));
      const r = await store.create({ ...thing('a'), kind: 'Route' });
      const b = await store.update({ ...a, spec: { size: 2 } });
      const versions = [a, r, b].map((o) => Number(o.metadata.resourceVersion));
      assert.deepEqual(
        versions,
        [...versions].sort((x, y) => x - y),
      );
      assert.equal(new Set(versions).size, 3);
    });

    test('conflicts: stale version, other incarnation, taken name, missing object', async (store) => {
      const a = await store.create(thing('a'));
      await store.update({ ...a, spec: { size: 2 } });
      await assert.rejects(store.update({ ...a, spec: { size: 3 } }), code('Conflict'));
      await assert.rejects(store.updateStatus({ ...a, status: {} }), code('Conflict'));
      await assert.rejects(store.create(thing('a')), code('AlreadyExists'));
      await assert.rejects(store.update(thing('b')), code('NotFound'));
      await assert.rejects(store.delete(key('b')), code('NotFound'));
      await assert.rejects(store.delete(key('a'), { uid: 'other' }), code('Conflict'));
      await assert.rejects(
        store.delete(key('a'), { resourceVersion: a.metadata.resourceVersion ?? '' }),
        code('Conflict'),
      );
      const unconditional = await store.update(thing('a', 4));
      assert.deepEqual(unconditional.spec, { size: 4 });
      assert.equal(unconditional.metadata.uid, a.metadata.uid);
    });

    test('lists by namespace and predicate, in pages of one snapshot', async (store) => {
      for (const n of ['a', 'b', 'c', 'd', 'e']) await store.create(thing(n));
      await store.create(thing('a', 1, { namespace: 'other' }));
      assert.equal((await store.list(kind)).items.length, 6);
      assert.equal((await store.list(kind, { namespace: 'other' })).items.length, 1);
      const first = await store.list(kind, { namespace: 'default', limit: 2 });
      assert.ok(first.continueToken);
      await store.delete(key('c'));
      await store.create(thing('cc'));
      await store.update(thing('d', 9));
      const second = await store.list<Thing>(kind, {
        namespace: 'default',
        limit: 2,
        continueToken: first.continueToken,
      });
      const third = await store.list<Thing>(kind, {
        namespace: 'default',
        limit: 2,
        continueToken: second.continueToken ?? '',
      });
      const all = [...first.items, ...second.items, ...third.items];
      assert.deepEqual(
        all.map((o) => o.metadata.name),
        ['a', 'b', 'c', 'd', 'e'],
      );
      assert.equal(second.items[1]?.spec?.size, 1, 'as it was when the list began');
      assert.equal(third.continueToken, undefined);
      assert.equal(third.resourceVersion, first.resourceVersion);
      const matching = await store.list(kind, { matches: (o) => o.metadata.name === 'cc' });
      assert.deepEqual(
        matching.items.map((o) => o.metadata.name),
        ['cc'],
      );
      await assert.rejects(store.list(kind, { continueToken: 'nonsense' }), code('BadRequest'));
    });

    test('a watch gives the present, a bookmark, then every change once', async (store, signal) => {
      await store.create(thing('a'));
      const events = collect(store, { signal });
      assert.deepEqual(await events.next(2), ['ADDED a 1', 'BOOKMARK']);
      const b = await store.create(thing('b'));
      await store.update({ ...b, spec: { size: 2 } });
      await store.create({ ...thing('z'), kind: 'Route' });
      await store.delete(key('a'));
      assert.deepEqual(await events.next(3), ['ADDED b 1', 'MODIFIED b 2', 'DELETED a 1']);
    });

    test('a watch from a list misses and repeats nothing', async (store, signal) => {
      await store.create(thing('a'));
      const list = await store.list(kind);
      await store.create(thing('b'));
      const events = collect(store, { signal, fromVersion: list.resourceVersion });
      await store.delete(key('b'));
      assert.deepEqual(await events.next(2), ['ADDED b 1', 'DELETED b 1']);
    });

    test('a watch of one namespace sees no other, and ends when its signal does', async (store) => {
      const abort = new AbortController();
      const events = collect(store, { signal: abort.signal, namespace: 'other' });
      assert.deepEqual(await events.next(1), ['BOOKMARK']);
      await store.create(thing('a'));
      await store.create(thing('b', 1, { namespace: 'other' }));
      assert.deepEqual(await events.next(1), ['ADDED b 1']);
      abort.abort();
      assert.deepEqual(await events.next(1), ['END']);
    });

    test('a watch from an impossible version is refused', async (store, signal) => {
      const watch = (fromVersion: string) => collect(store, { signal, fromVersion }).next(1);
      await assert.rejects(watch('99999999999'), code('Expired'));
      await assert.rejects(watch('x'), code('BadRequest'));
    });

    test('finalizers hold a deletion until they are gone', async (store) => {
      const a = await store.create(thing('a', 1, { finalizers: ['ebb.dev/x'] }));
      await store.delete(key('a'));
      const dying = await store.get<Thing>(key('a'));
      assert.ok(dying?.metadata.deletionTimestamp);
      await store.delete(key('a'));
      await assert.rejects(
        store.update({ ...dying, metadata: { ...dying.metadata, finalizers: ['ebb.dev/x', 'ebb.dev/y'] } }),
        code('Invalid'),
      );
      await store.update({ ...dying, metadata: { ...dying.metadata, finalizers: [] } });
      assert.equal(await store.get(key('a')), undefined);
      const again = await store.create(thing('a'));
      assert.notEqual(again.metadata.uid, a.metadata.uid);
    });

    const owned = (owner: KubeObject, name: string, extra: Partial<ObjectMeta> = {}, block = false) =>
      thing(name, 1, {
        ...extra,
        ownerReferences: [
          {
            apiVersion: owner.apiVersion,
            kind: owner.kind,
            name: owner.metadata.name,
            uid: owner.metadata.uid ?? '',
            controller: true,
            ...(block ? { blockOwnerDeletion: true } : {}),
          },
        ],
      });

    test('dependents go with their last owner', async (store) => {
      const a = await store.create(thing('a'));
      const b = await store.create(thing('b'));
      const child = await store.create(owned(a, 'child'));
      await store.create(owned(child, 'grandchild'));
      const shared = owned(a, 'shared');
      shared.metadata.ownerReferences?.push(...(owned(b, 'x').metadata.ownerReferences ?? []));
      await store.create(shared);
      await store.delete(key('a'));
      assert.equal(await eventually(store, 'child', (o) => o === undefined), undefined);
      assert.equal(await eventually(store, 'grandchild', (o) => o === undefined), undefined);
      const left = await eventually(store, 'shared', (o) => o?.metadata.ownerReferences?.length === 1);
      assert.equal(left?.metadata.ownerReferences?.[0]?.name, 'b');
      await store.create(owned(a, 'late')).catch(() => undefined);
      assert.equal(await eventually(store, 'late', (o) => o === undefined), undefined, 'born to a dead owner');
    });

    test('Orphan leaves dependents, Foreground waits for the blocking ones', async (store) => {
      const a = await store.create(thing('a'));
      await store.create(owned(a, 'orphan'));
      await store.delete(key('a'), { propagation: 'Orphan' });
      const orphan = await eventually(store, 'orphan', (o) => (o?.metadata.ownerReferences ?? []).length === 0);
      assert.ok(orphan);

      const b = await store.create(thing('b'));
      const child = await store.create(owned(b, 'child', { finalizers: ['ebb.dev/x'] }, true));
      await store.delete(key('b'), { propagation: 'Foreground' });
      const dying = await eventually(store, 'child', (o) => o?.metadata.deletionTimestamp !== undefined);
      assert.ok((await store.get(key('b')))?.metadata.deletionTimestamp, 'the owner waits');
      assert.ok(dying);
      const { resourceVersion: _any, ...metadata } = child.metadata;
      await store.update({ ...child, metadata: { ...metadata, finalizers: [] } });
      assert.equal(await eventually(store, 'b', (o) => o === undefined), undefined);
      assert.equal(await store.get(key('child')), undefined);
    });

    test('a namespace takes what is in it along', async (store) => {
      await store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'temp' } });
      const held = await store.create(thing('held', 1, { namespace: 'temp', finalizers: ['ebb.dev/x'] }));
      await store.create(thing('free', 1, { namespace: 'temp' }));
      const namespace = { group: '', kind: 'Namespace', namespace: undefined, name: 'temp' };
      await store.delete(namespace);
      assert.ok((await store.get(namespace))?.metadata.deletionTimestamp);
      await assert.rejects(store.create(thing('new', 1, { namespace: 'temp' })), code('Forbidden'));
      const { resourceVersion: _any, ...metadata } = held.metadata;
      await store.update({ ...held, metadata: { ...metadata, finalizers: [] } });
      await eventually(store, 'held', (o) => o === undefined, 'temp');
      assert.equal(await store.get(namespace), undefined);
    });
  });
}

/** A watch, read a few events at a time as short texts. */
export function collect(store: ResourceStore, options: WatchOptions) {
  const iterator = store.watch<Thing>(kind, options)[Symbol.asyncIterator]();
  const text = (event: WatchEvent<Thing>) =>
    event.type === 'BOOKMARK' ? 'BOOKMARK' : `${event.type} ${event.object.metadata.name} ${event.object.spec?.size}`;
  return {
    async next(count: number): Promise<string[]> {
      const texts: string[] = [];
      while (texts.length < count) {
        const { done, value } = await iterator.next();
        texts.push(done ? 'END' : text(value as WatchEvent<Thing>));
        if (done) break;
      }
      return texts;
    },
  };
}

/** The object once it is as wanted, by watching: a store may collect dependents after the answer to the delete. */
async function eventually(
  store: ResourceStore,
  name: string,
  wanted: (object: Thing | undefined) => boolean,
  namespace = 'default',
): Promise<Thing | undefined> {
  const abort = new AbortController();
  const current = () => store.get<Thing>(key(name, namespace));
  try {
    for await (const _event of store.watch(kind, { signal: abort.signal, namespace })) {
      const object = await current();
      if (wanted(object)) return object;
    }
    return await current();
  } finally {
    abort.abort();
  }
}
