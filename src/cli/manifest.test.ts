import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifest } from './manifest.ts';

test('a number with a leading zero is octal, as it is for kubectl', async () => {
  const text = 'apiVersion: v1\nkind: X\nmetadata: {name: a}\nspec: [0400, 0o400, 400, "0400", 0, 10.5]\n';
  const [object] = await parseManifest(text, 'x.yaml');
  assert.deepEqual((object as unknown as { spec: unknown }).spec, [256, 256, 400, '0400', 0, 10.5]);
});
