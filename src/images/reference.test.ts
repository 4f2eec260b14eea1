import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../platform/errors.ts';
import { canonicalName, formatReference, parseReference } from './reference.ts';

const hex = 'a'.repeat(64);

describe('references', () => {
  const good: [string, string][] = [
    ['nginx', 'docker.io/library/nginx:latest'],
    ['me/app:3', 'docker.io/me/app:3'],
    ['docker.io/nginx', 'docker.io/library/nginx:latest'],
    ['index.docker.io/me/x', 'docker.io/me/x:latest'],
    ['localhost/hi:1', 'localhost/hi:1'],
    ['localhost:5000/a/b/c', 'localhost:5000/a/b/c:latest'],
    ['[::1]:5000/a:v1', '[::1]:5000/a:v1'],
    ['ghcr.io/o/n@sha256:' + hex, `ghcr.io/o/n@sha256:${hex}`],
    [`ghcr.io/o/n:v1@sha256:${hex}`, `ghcr.io/o/n:v1@sha256:${hex}`],
    ['ebb.local/default/app:x.1-2_3', 'ebb.local/default/app:x.1-2_3'],
    ['a__b/c-d--e.f', 'docker.io/a__b/c-d--e.f:latest'],
    ['UPPER/x', 'UPPER/x:latest'],
  ];
  for (const [from, to] of good)
    it(`${from} means ${to}`, () => assert.equal(formatReference(parseReference(from)), to));

  const bad = [
    '',
    ' nginx',
    'a b',
    'Nginx',
    'a//b',
    '/a',
    'a/',
    'a:',
    ':1',
    'a:.x',
    `a:${'x'.repeat(129)}`,
    'a@sha256:12',
    'a@md5:x',
    hex,
    'a_/b',
    '-a/b',
    'a.b:99999/c',
    'a.b:0/c',
    `x/${'a'.repeat(260)}`,
    'a\n',
    '../a',
    'https://a.b/c',
    'x'.repeat(600),
  ];
  for (const text of bad) {
    it(`refuses ${JSON.stringify(text.slice(0, 40))}`, () =>
      assert.throws(() => parseReference(text), { code: 'InvalidReference' }));
  }

  it('keeps images by digest when there is one', () => {
    assert.equal(canonicalName(parseReference(`x.io/a:1@sha256:${hex}`)), `x.io/a@sha256:${hex}`);
    assert.equal(canonicalName(parseReference('x.io/a:1')), 'x.io/a:1');
  });

  it('parses what it formats to the same, and answers all else with InvalidReference', () => {
    const piece = fc.constantFrom(
      'a',
      'B',
      '0',
      '.',
      '-',
      '_',
      '/',
      ':',
      '@',
      'sha256:',
      hex,
      '[',
      ']',
      'localhost',
      '\0',
      'ü',
      ' ',
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
        (text) => {
          try {
            const reference = parseReference(text);
            assert.deepEqual(parseReference(formatReference(reference)), reference);
            assert.match(formatReference(reference), /^[\x21-\x7e]+$/);
          } catch (error) {
            assert.ok(error instanceof EbbError && error.code === 'InvalidReference', String(error));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
