import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { checkShape } from '../check.ts';
import { defaultRevisionSpec } from '../defaults.ts';
import { fieldErrorsText } from '../field-error.ts';
import { referencesOf } from '../references.ts';
import { RevisionSpec } from '../serving.ts';
import { validateRevisionSpec } from './serving.ts';

type Json = Record<string, unknown>;

/** The messages that a spec is refused with; '' when it is accepted. */
function refusal(container: Json, volumes: unknown = []): string {
  const { value, errors, unknown } = checkShape(RevisionSpec, { containers: [{ image: 'x', ...container }], volumes });
  if (errors.length + unknown.length > 0)
    return [fieldErrorsText(errors), ...unknown.map((u) => `unknown ${u}`)].join('\n');
  return fieldErrorsText(validateRevisionSpec(defaultRevisionSpec(value as RevisionSpec), 'spec'));
}

const mounted = (volume: Json, mount: Json = {}) =>
  refusal({ volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] }, [{ name: 'v', ...volume }]);
const from = (valueFrom: Json, rest: Json = {}) => refusal({ env: [{ name: 'A', ...rest, valueFrom }] });
const emptyDir = { emptyDir: {} };
const container = 'spec.containers[0]';
const ref = { name: 's', key: 'k' };

describe('variables and volumes', () => {
  it('are accepted as people write them', () => {
    assert.equal(from({ secretKeyRef: { ...ref, optional: true } }), '');
    assert.equal(from({ configMapKeyRef: ref }, { value: '' }), '');
    assert.equal(
      refusal({ envFrom: [{ prefix: 'P_', secretRef: { name: 's' } }, { configMapRef: { name: 'c' } }] }),
      '',
    );
    const items = [{ key: 'k', path: 'a/..b', mode: 0 }];
    assert.equal(mounted({ secret: { secretName: 's', items, defaultMode: 0o777, optional: false } }), '');
    assert.equal(mounted({ configMap: { name: 'c', items } }, { subPath: 'a/b', readOnly: false }), '');
    assert.equal(
      mounted({ projected: { sources: [{ secret: { name: 's', items } }, { configMap: { name: 'c' } }] } }),
      '',
    );
    assert.equal(mounted({ emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } }), '');
    assert.equal(mounted({ emptyDir: { sizeLimit: 1000 } }, { mountPath: '/dev/shm' }), '');
  });

  const table: [string, string, string][] = [
    ['both values', from({ secretKeyRef: ref }, { value: 'x' }), 'may not be specified when `value` is not empty:'],
    ['no source', from({}), 'expected exactly one, got neither:'],
    ['two sources', from({ secretKeyRef: ref, configMapKeyRef: ref }), 'expected exactly one, got both:'],
    [
      'no key',
      from({ secretKeyRef: { name: 's' } }),
      `missing field(s): ${container}.env[0].valueFrom.secretKeyRef.key`,
    ],
    ['fieldRef', from({ fieldRef: {} }), 'must not set the field(s): containers[0].env[0].valueFrom.fieldRef'],
    ['envFrom nothing', refusal({ envFrom: [{}] }), 'expected exactly one, got neither:'],
    [
      'envFrom no name',
      refusal({ envFrom: [{ secretRef: {} }] }),
      `missing field(s): ${container}.envFrom[0].secretRef`,
    ],
    ['a prefix', refusal({ envFrom: [{ prefix: '=', secretRef: { name: 's' } }] }), 'invalid value: =:'],
    ['hostPath', mounted({ hostPath: { path: '/' } }), 'must not set the field(s): volumes[0].hostPath'],
    ['no kind of volume', mounted({}), 'expected exactly one, got neither: spec.volumes[0].secret, '],
    ['two kinds', mounted({ ...emptyDir, secret: { secretName: 's' } }), 'expected exactly one, got both:'],
    ['no secret name', mounted({ secret: {} }), 'missing field(s): spec.volumes[0].secret.secretName'],
    ['a mode', mounted({ secret: { secretName: 's', defaultMode: 512 } }), 'expected 0 <= 512 <= 511:'],
    [
      'out of the volume',
      mounted({ configMap: { name: 'c', items: [{ key: 'k', path: 'a/../../b' }] } }),
      'invalid value:',
    ],
    [
      'an absolute item',
      mounted({ configMap: { name: 'c', items: [{ key: 'k', path: '/b' }] } }),
      'invalid value: /b:',
    ],
    [
      'an item of dots',
      mounted({ configMap: { name: 'c', items: [{ key: 'k', path: './.' }] } }),
      'invalid value: ./.:',
    ],
    ['token', mounted({ projected: { sources: [{ downwardAPI: {} }] } }), 'must not set the field(s):'],
    ['an odd source', mounted({ projected: { sources: [{}] } }), 'expected exactly one, got neither:'],
    [
      'medium',
      mounted({ emptyDir: { medium: 'HugePages' } }),
      'invalid value: HugePages: spec.volumes[0].emptyDir.medium',
    ],
    ['size', mounted({ emptyDir: { sizeLimit: '-1' } }), 'invalid value: -1: spec.volumes[0].emptyDir.sizeLimit'],
    ['a size that is none', mounted({ emptyDir: { sizeLimit: '1MB' } }), 'invalid value: 1MB:'],
    ['the root', mounted(emptyDir, { mountPath: '/a/..' }), 'mountPath "/" is a reserved path:'],
    ['/dev', mounted(emptyDir, { mountPath: '/dev/' }), 'mountPath "/dev" is a reserved path:'],
    ['/proc', mounted(emptyDir, { mountPath: '/proc/sys' }), 'mountPath "/proc/sys" is a reserved path:'],
    [
      'a relative path',
      mounted(emptyDir, { mountPath: 'v' }),
      `invalid value: v: ${container}.volumeMounts[0].mountPath`,
    ],
    ['no path', mounted(emptyDir, { mountPath: '' }), `missing field(s): ${container}.volumeMounts[0].mountPath`],
    ['a part outside', mounted(emptyDir, { subPath: '../x' }), 'invalid value: ../x:'],
    ['propagation', mounted(emptyDir, { mountPropagation: 'None' }), 'must not set the field(s):'],
    [
      'not mounted',
      refusal({}, [{ name: 'v', ...emptyDir }]),
      'volume with name "v" not mounted: spec.volumes[0].name',
    ],
    [
      'no such volume',
      refusal({ volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
      'volumeMount has no matching volume:',
    ],
    ['a name', mounted({ name: 'V', ...emptyDir }, { name: 'V' }), 'invalid value: V: spec.volumes[0].name'],
    [
      'a path twice',
      refusal(
        {
          volumeMounts: [
            { name: 'v', mountPath: '/v' },
            { name: 'v', mountPath: '/v/' },
          ],
        },
        [{ name: 'v', ...emptyDir }],
      ),
      'invalid value: "/v/" must be unique:',
    ],
    [
      'a volume twice',
      refusal({ volumeMounts: [{ name: 'v', mountPath: '/v' }] }, [
        { name: 'v', ...emptyDir },
        { name: 'v', ...emptyDir },
      ]),
      'duplicate volume name "v": spec.volumes[1].name',
    ],
  ];
  for (const [what, found, message] of table)
    it(`${what}: ${message}`, () => assert.ok(found.includes(message), found || 'accepted'));

  it('are read-only by default, but for emptyDir; twice defaulted is once defaulted', () => {
    const spec: RevisionSpec = {
      containers: [
        {
          image: 'x',
          volumeMounts: [
            { name: 's', mountPath: '/s' },
            { name: 'e', mountPath: '/e' },
          ],
        },
      ],
      volumes: [
        { name: 's', secret: { secretName: 's' } },
        { name: 'e', emptyDir: {} },
      ],
    };
    const once = defaultRevisionSpec(spec);
    assert.deepEqual(
      once.containers[0]?.volumeMounts?.map((m) => m.readOnly),
      [true, undefined],
    );
    assert.deepEqual(defaultRevisionSpec(once), once);
    assert.deepEqual(referencesOf(once), [{ kind: 'Secret', name: 's' }]);
  });

  it('whatever comes in, it is accepted or refused, never thrown at', () => {
    const word = fc.constantFrom('', 'v', '/', '../x', '/dev', '\0', 'a'.repeat(300), '-1', '64Mi');
    const leaf = fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null));
    const keys = [
      'name',
      'mountPath',
      'subPath',
      'secret',
      'secretName',
      'items',
      'path',
      'key',
      'emptyDir',
      'sizeLimit',
    ];
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('tree'), { maxLength: 3 }), tie('object')),
      object: fc.dictionary(fc.constantFrom(...keys, 'projected', 'sources', 'valueFrom', 'secretKeyRef'), tie('tree')),
    }));
    fc.assert(
      fc.property(tree, tree, tree, tree, (env, envFrom, volumeMounts, volumes) => {
        refusal({ env: [env], envFrom: [envFrom], volumeMounts: [volumeMounts] }, [volumes]);
      }),
    );
  });
});
