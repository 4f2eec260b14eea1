import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../../platform/errors.ts';
import { kinds } from '../../resources/api.ts';
import type { KubeObject } from '../../resources/index.ts';
import { managedByUpdate, planApply } from './apply.ts';
import {
  empty,
  equal,
  fromFieldsV1,
  intersect,
  leaf,
  subtract,
  toFieldsV1,
  union,
  type FieldSet,
} from './field-set.ts';
import { managersOf } from './managers.ts';

type Json = Record<string, unknown>;

const kind = kinds.find((k) => k.kind === 'ConfigMap')!; // it is in the list
const accounts = kinds.find((k) => k.kind === 'ServiceAccount')!;
const now = '2026-01-01T00:00:00Z';
const configMap = (data: Json, metadata: Json = {}): Json => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'c', ...metadata },
  data,
});

/** Applies as the API server does, without defaulting. */
function apply(live: object | undefined, config: Json, manager: string, force = false, of = kind): KubeObject {
  const plan = planApply({ kind: of, live: live as KubeObject | undefined, config, manager, force, now });
  const object = structuredClone(plan.merged) as unknown as KubeObject;
  return { ...object, metadata: { ...object.metadata, managedFields: plan.managedFields(object) } };
}

function update(live: KubeObject, next: Json, name: string): KubeObject {
  const managedFields = managedByUpdate(kind, live, next as unknown as KubeObject, { name, now });
  const object = next as unknown as KubeObject;
  return { ...object, metadata: { ...object.metadata, ...(managedFields ? { managedFields } : {}) } };
}

const dataOf = (object: KubeObject) => (object as KubeObject & { data?: Json }).data;
const ownersOf = (object: KubeObject, key: string) =>
  managersOf(object)
    .filter((m) => m.fields.children.get('f:data')?.children.has(`f:${key}`))
    .map((m) => m.name);
const conflict = (words: RegExp) => (error: unknown) =>
  error instanceof EbbError && error.code === 'Conflict' && words.test(error.message);

describe('server-side apply', () => {
  it('owns what it applies, takes away what it no longer applies, and nothing else', () => {
    const first = apply(undefined, configMap({ a: '1', b: '2' }), 'me');
    assert.deepEqual(first.metadata.managedFields, [
      {
        manager: 'me',
        operation: 'Apply',
        apiVersion: 'v1',
        time: now,
        fieldsType: 'FieldsV1',
        fieldsV1: { 'f:data': { 'f:a': {}, 'f:b': {} } },
      },
    ]);
    const shared = apply(first, configMap({ b: '2', c: '3' }), 'you');
    assert.deepEqual(dataOf(shared), { a: '1', b: '2', c: '3' });
    const less = apply(shared, configMap({}), 'me');
    assert.deepEqual(dataOf(less), { b: '2', c: '3' });
    assert.deepEqual(ownersOf(less, 'b'), ['you']);
    assert.deepEqual(dataOf(apply(less, configMap({ c: '3' }), 'you')), { c: '3' });
  });

  it('refuses to overwrite what another set, unless told to', () => {
    const live = apply(undefined, configMap({ a: '1', b: '1' }), 'me');
    assert.throws(
      () => apply(live, configMap({ a: '2', b: '1' }), 'you'),
      conflict(/^Apply failed with 1 conflict: conflict with "me" using v1: \.data\.a$/),
    );
    const forced = apply(live, configMap({ a: '2', b: '1' }), 'you', true);
    assert.deepEqual(dataOf(forced), { a: '2', b: '1' });
    assert.deepEqual([ownersOf(forced, 'a'), ownersOf(forced, 'b')], [['you'], ['me', 'you']]);
    assert.throws(() => apply(forced, configMap({ a: '1' }), 'me'), conflict(/"you"/));
  });

  it('notes who updates, once somebody has applied', () => {
    const untracked = configMap({ a: '1' }) as unknown as KubeObject;
    assert.equal(managedByUpdate(kind, untracked, untracked, { name: 'kubectl-edit', now }), undefined);
    const live = apply(undefined, configMap({ a: '1', b: '1' }), 'me');
    const edited = update(live, { ...live, data: { a: '2', c: '1' } } as unknown as Json, 'kubectl-edit');
    assert.deepEqual(
      ['a', 'b', 'c'].map((k) => ownersOf(edited, k)),
      [['kubectl-edit'], [], ['kubectl-edit']],
    );
    assert.throws(() => apply(edited, configMap({ a: '1' }), 'me'), conflict(/"kubectl-edit"/));
    assert.deepEqual(dataOf(apply(edited, configMap({ a: '2' }), 'me')), { a: '2', c: '1' });
  });

  it('holds the fields of before as an unknown updater, but kubectl may go on with its own', () => {
    const config = configMap({ a: '1', b: '1' });
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(config) };
    const live = { ...config, metadata: { name: 'c', annotations }, data: { a: '1', b: '1', c: '1' } };
    assert.throws(
      () => apply(live, configMap({ a: '2' }), 'flux'),
      conflict(/"before-first-apply" using v1: \.data\.a/),
    );
    const moved = apply(live, configMap({ a: '2' }), 'kubectl');
    assert.deepEqual(dataOf(moved), { a: '2', c: '1' });
    assert.match(Object.values(moved.metadata.annotations ?? {})[0] ?? '', /"data":\{"a":"2"\}/);
    assert.throws(() => apply(live, configMap({ c: '2' }), 'kubectl'), conflict(/\.data\.c/));
  });

  it('merges lists by their keys, sets by their values', () => {
    const account = (secrets: string[], finalizers: string[]): Json => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'a', finalizers },
      secrets: secrets.map((name) => ({ name })),
    });
    const first = apply(undefined, account(['x', 'y'], ['e/1']), 'me', false, accounts) as KubeObject & Json;
    const both = apply(first, account(['y', 'z'], ['e/1', 'e/2']), 'you', false, accounts) as KubeObject & Json;
    assert.deepEqual(both['secrets'], [{ name: 'x' }, { name: 'y' }, { name: 'z' }]);
    const less = apply(both, account([], ['e/3']), 'me', false, accounts) as KubeObject & Json;
    assert.deepEqual(less['secrets'], [{ name: 'y' }, { name: 'z' }]);
    assert.deepEqual(less.metadata.finalizers, ['e/1', 'e/2', 'e/3']);
    assert.throws(
      () => apply(less, { ...account([], []), secrets: [{}] }, 'me', false, accounts),
      (error) => error instanceof EbbError && /has no name/.test(error.message),
    );
  });

  it('remembers only so many updaters', () => {
    let live = apply(undefined, configMap({ a: '0' }), 'me');
    for (let i = 0; i < 30; i++)
      live = update(live, { ...live, data: { ...dataOf(live), [`k${i}`]: '1' } } as Json, `u${i}`);
    const names = managersOf(live).map((m) => m.name);
    assert.ok(names.length <= 11, String(names.length));
    assert.ok(names.includes('ancient-changes') && names.includes('me') && names.includes('u29'));
    assert.deepEqual(ownersOf(live, 'k0'), ['ancient-changes']);
  });

  it('always holds: what is applied is there; applied again, nothing changes; an unshared field goes with its last wish', () => {
    const data = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd', '__proto__'), fc.constantFrom('1', '2'));
    const step = fc.record({ manager: fc.constantFrom('me', 'you', 'them'), data, force: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        let live: KubeObject | undefined;
        const wishes = new Map<string, Json>();
        for (const { manager, data: wish, force } of steps) {
          let next: KubeObject;
          try {
            next = apply(live, configMap(wish), manager, force);
          } catch (error) {
            assert.ok(!force && error instanceof EbbError && error.code === 'Conflict', String(error));
            continue;
          }
          wishes.set(manager, wish);
          const found = dataOf(next) ?? {};
          for (const [k, v] of Object.entries(wish)) assert.equal(Object.getOwnPropertyDescriptor(found, k)?.value, v);
          for (const k of Object.keys(found))
            assert.ok(
              [...wishes.values()].some((w) => Object.hasOwn(w, k)),
              k,
            );
          assert.deepEqual(apply(next, configMap(wish), manager), next);
          live = next;
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('sets of fields', () => {
  const path = fc.array(fc.constantFrom('f:a', 'f:b', 'k:{"name":"x"}', 'v:"1"'), { minLength: 1, maxLength: 4 });
  const single = (elements: string[]) =>
    elements.reduceRight<FieldSet>((child, element) => ({ self: false, children: new Map([[element, child]]) }), leaf);
  const set = fc.array(path, { maxLength: 8 }).map((paths) => paths.map(single).reduce(union, empty));

  it('keep the laws of sets, and come back from FieldsV1 as they went', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        assert.ok(equal(union(a, b), union(b, a)));
        assert.ok(equal(union(subtract(a, b), intersect(a, b)), a));
        assert.ok(equal(intersect(subtract(a, b), b), empty));
        assert.ok(equal(fromFieldsV1(JSON.parse(JSON.stringify(toFieldsV1(a)))), a));
      }),
    );
  });
});
