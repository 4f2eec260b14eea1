import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { RevisionSpec } from '../resources/index.ts';
import { resolveReferences, type DataObject } from './resolve-references.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const objects: Record<string, DataObject> = {
  'Secret/s': object('Secret', { data: { user: base64('ada'), pass: base64('p$(user)'), nul: base64('a\0b') } }),
  'ConfigMap/c': object('ConfigMap', { data: { a: '1', b: '2' }, binaryData: { bin: base64('\u0001\u0000') } }),
  'ConfigMap/empty': object('ConfigMap', {}),
};

function object(kind: string, rest: Partial<DataObject>): DataObject {
  return { apiVersion: 'v1', kind, metadata: { name: kind }, ...rest };
}

function resolve(container: Partial<RevisionSpec['containers'][0]>, volumes: RevisionSpec['volumes'] = []) {
  const spec: RevisionSpec = { containers: [{ name: 'app', image: 'x', ...container }], volumes };
  return resolveReferences(spec, ({ kind, name }) => objects[`${kind}/${name}`]);
}

const variables = (container: Parameters<typeof resolve>[0]) => resolve(container).env.get('app');
const files = (volume: NonNullable<RevisionSpec['volumes']>[0]) =>
  resolve({}, [{ name: 'v', ...volume }])
    .files.get('v')
    ?.map(({ path, mode, content }) => [path, mode.toString(8), content.toString()]);

describe('variables', () => {
  it('come from envFrom first, then from env, in order', () => {
    const found = variables({
      envFrom: [{ configMapRef: { name: 'c' } }, { prefix: 'P_', configMapRef: { name: 'c' } }],
      env: [
        { name: 'LITERAL', value: '$(a)' },
        { name: 'PASS', valueFrom: { secretKeyRef: { name: 's', key: 'pass' } } },
      ],
    });
    assert.deepEqual(found, [
      { name: 'a', value: '1' },
      { name: 'b', value: '2' },
      { name: 'P_a', value: '1' },
      { name: 'P_b', value: '2' },
      { name: 'LITERAL', value: '$(a)', expand: true },
      { name: 'PASS', value: 'p$(user)' },
    ]);
  });

  it('may be missing when optional', () => {
    const found = variables({
      envFrom: [{ secretRef: { name: 'none', optional: true } }, { configMapRef: { name: 'empty' } }],
      env: [
        { name: 'A', valueFrom: { secretKeyRef: { name: 'none', key: 'x', optional: true } } },
        { name: 'B', valueFrom: { secretKeyRef: { name: 's', key: 'x', optional: true } } },
      ],
    });
    assert.deepEqual(found, []);
  });

  const secretKey = (name: string, key: string) => ({
    env: [{ name: 'A', valueFrom: { secretKeyRef: { name, key } } }],
  });
  const configKey = (name: string, key: string) => ({
    env: [{ name: 'A', valueFrom: { configMapKeyRef: { name, key } } }],
  });
  const table: [string, Parameters<typeof resolve>[0], string][] = [
    ['no secret', secretKey('none', 'k'), 'secret "none" not found'],
    ['no configmap', configKey('none', 'k'), 'configmap "none" not found'],
    ['no key', configKey('c', 'k'), 'key "k" not in configmap "c"'],
    ['a key of no object', secretKey('s', 'constructor'), 'key "constructor" not in secret "s"'],
    ['binary data is for files', configKey('c', 'bin'), 'key "bin" not in configmap "c"'],
    ['no whole secret', { envFrom: [{ secretRef: { name: 'none' } }] }, 'secret "none" not found'],
    [
      'a NUL',
      secretKey('s', 'nul'),
      'key "nul" of secret "s" holds a NUL, which no variable can; mount it as a file instead',
    ],
  ];
  for (const [what, container, message] of table)
    it(`${what}: ${message}`, () => assert.throws(() => resolve(container), { message }));
});

describe('files', () => {
  it('are all keys, or those asked for, under their paths and with their modes', () => {
    assert.deepEqual(files({ configMap: { name: 'c' } }), [
      ['a', '644', '1'],
      ['b', '644', '2'],
      ['bin', '644', '\u0001\u0000'],
    ]);
    const items = [
      { key: 'user', path: './deep//er/u/' },
      { key: 'pass', path: 'p', mode: 0o400 },
    ];
    assert.deepEqual(files({ secret: { secretName: 's', items, defaultMode: 0o440 } }), [
      ['deep/er/u', '440', 'ada'],
      ['p', '400', 'p$(user)'],
    ]);
  });

  it('of several sources: a later one wins', () => {
    const sources = [
      { configMap: { name: 'c' } },
      { secret: { name: 's', items: [{ key: 'user', path: 'a' }] } },
      { secret: { name: 'none', optional: true } },
    ];
    assert.deepEqual(files({ projected: { sources, defaultMode: 0o600 } })?.[0], ['a', '600', 'ada']);
  });

  it('are none of an emptyDir, and an empty list of an optional one that is missing', () => {
    assert.equal(files({ emptyDir: {} }), undefined);
    assert.deepEqual(files({ secret: { secretName: 'none', optional: true } }), []);
  });

  it('are refused when missing, contradictory or too many', () => {
    assert.throws(() => files({ secret: { secretName: 'none' } }), { message: 'secret "none" not found' });
    assert.throws(() => files({ secret: { secretName: 's', items: [{ key: 'x', path: 'x' }] } }), {
      message: 'key "x" not in secret "s"',
    });
    const items = [
      { key: 'a', path: 'x' },
      { key: 'b', path: 'x/y' },
    ];
    assert.throws(() => files({ configMap: { name: 'c', items } }), {
      message: 'volume "v" has "x" as a file and as a folder',
    });
    objects['ConfigMap/large'] = object('ConfigMap', { data: { big: 'x'.repeat(2 ** 20) } });
    const many = Array.from({ length: 33 }, (_, i) => ({ key: 'big', path: `${i}` }));
    assert.throws(() => files({ configMap: { name: 'large', items: many } }), { code: 'ReferenceInvalid' });
  });

  it('give back any bytes as they were stored', () =>
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        objects['Secret/any'] = object('Secret', { data: { k: Buffer.from(bytes).toString('base64') } });
        const [file] = resolve({}, [{ name: 'v', secret: { secretName: 'any' } }]).files.get('v') ?? [];
        assert.deepEqual(file?.content, Buffer.from(bytes));
      }),
    ));
});
