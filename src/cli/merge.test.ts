import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { equal, isObject, threeWayPatch, type JsonObject } from './merge.ts';

/** RFC 7386, section 2. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

const { tree } = fc.letrec<{ tree: JsonObject; value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.integer({ min: 0, max: 3 }),
    fc.boolean(),
    fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
    tie('tree'),
  ),
  tree: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3 }) as fc.Arbitrary<JsonObject>,
}));

/** Every field of `part` is in `whole` with the same value. */
function contains(whole: unknown, part: unknown): boolean {
  if (!isObject(part)) return equal(whole, part);
  return isObject(whole) && Object.entries(part).every(([key, value]) => contains(whole[key], value));
}

describe('threeWayPatch', () => {
  it('leaves the live object holding everything that is wanted', () => {
    fc.assert(
      fc.property(tree, tree, tree, (previous, wanted, live) => {
        assert.ok(contains(mergePatch(live, threeWayPatch(previous, wanted, live)), wanted));
      }),
    );
  });

  it('takes out what was applied before and is not wanted any more', () => {
    fc.assert(
      fc.property(tree, tree, tree, (previous, wanted, live) => {
        const result = mergePatch(live, threeWayPatch(previous, wanted, live)) as JsonObject;
        for (const key of Object.keys(previous)) if (!(key in wanted)) assert.ok(!(key in result), key);
      }),
    );
  });

  it('keeps what nobody mentioned', () => {
    assert.deepEqual(threeWayPatch({}, { spec: { a: 1 } }, { spec: { a: 2, traffic: [1] }, status: {} }), {
      spec: { a: 1 },
    });
  });

  it('is empty when all is as it should be', () => {
    fc.assert(fc.property(tree, (object) => assert.deepEqual(threeWayPatch(object, object, object), {})));
  });
});
