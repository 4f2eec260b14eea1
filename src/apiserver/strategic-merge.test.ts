import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Type } from 'typebox';
import { EbbError } from '../platform/errors.ts';
import { listMap, listSet, text } from '../resources/schema.ts';
import { mergeStrategic } from './strategic-merge.ts';

const schema = Type.Object({
  items: listMap(Type.Object({ name: text('') }), ['name'], ''),
  values: listSet(''),
  plain: Type.Array(Type.String()),
});
const named = (...names: string[]) => names.map((name) => ({ name }));

describe('strategic merge', () => {
  const cases: [what: string, target: object, patch: object, result: object][] = [
    ['maps merge, null deletes', { m: { a: 1, b: 2 } }, { m: { a: null, c: 3 } }, { m: { b: 2, c: 3 } }],
    ['a map is replaced', { m: { a: 1 } }, { m: { $patch: 'replace', b: 2 } }, { m: { b: 2 } }],
    ['a map is deleted', { m: { a: 1 }, n: 1 }, { m: { $patch: 'delete' } }, { n: 1 }],
    ['only some keys are retained', { a: 1, b: 2 }, { $retainKeys: ['b', 'c'], c: 3 }, { b: 2, c: 3 }],
    [
      'items merge by key',
      { items: [{ name: 'a', x: 1 }, { name: 'b' }] },
      { items: [{ name: 'a', y: 2 }, { name: 'c' }] },
      { items: [{ name: 'a', x: 1, y: 2 }, { name: 'b' }, { name: 'c' }] },
    ],
    ['an item goes', { items: named('a', 'b') }, { items: [{ name: 'a', $patch: 'delete' }] }, { items: named('b') }],
    [
      'a list is replaced by directive',
      { items: named('a', 'b') },
      { items: [{ $patch: 'replace' }, { name: 'c' }] },
      { items: named('c') },
    ],
    ['a set grows', { values: ['a', 'b'] }, { values: ['b', 'c'] }, { values: ['a', 'b', 'c'] }],
    ['a value goes', { values: ['a', 'b'] }, { '$deleteFromPrimitiveList/values': ['a'] }, { values: ['b'] }],
    ['other lists are one value', { plain: ['a', 'b'] }, { plain: ['c'] }, { plain: ['c'] }],
    [
      'the order is as told, with what only the server has between',
      { items: named('a', 'server', 'b') },
      { '$setElementOrder/items': named('b', 'c', 'a'), items: named('c') },
      { items: named('server', 'b', 'c', 'a') },
    ],
  ];
  for (const [what, target, patch, result] of cases) {
    it(what, () => {
      const before = structuredClone(target);
      assert.deepEqual(mergeStrategic(schema, target, patch), result);
      assert.deepEqual(target, before);
    });
  }

  it('never fails but with an EbbError', () => {
    const key = fc.constantFrom(
      'items',
      'values',
      'name',
      '$patch',
      '$setElementOrder/items',
      '$retainKeys',
      '__proto__',
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom<unknown>('replace', 'delete', 'a', 1, null),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(key, tree), fc.dictionary(key, tree), (target, patch) => {
        const clean = JSON.parse(JSON.stringify(target).replaceAll('"$', '"')) as unknown;
        try {
          mergeStrategic(schema, clean, patch);
        } catch (error) {
          assert.ok(error instanceof EbbError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
