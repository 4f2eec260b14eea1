import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../../platform/errors.ts';
import { checkDepth } from '../body.ts';
import { decodeProtobuf } from './decode.ts';
import { kindMessages } from './messages.ts';

/** The encoder that the decoder is held against: fields are `[number, value]`. */
type Value = string | number | bigint | boolean | Buffer | Fields;
type Fields = [number, Value][];

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    const more = rest > 0x7fn;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    if (!more) return Buffer.from(bytes);
  }
}

function encode(fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') {
        return [varint(BigInt(number) << 3n), varint(BigInt(value))];
      }
      const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.isBuffer(value) ? value : encode(value);
      return [varint((BigInt(number) << 3n) | 2n), varint(BigInt(bytes.length)), bytes];
    }),
  );
}

const wrap = (apiVersion: string, kind: string, object: Fields) =>
  Buffer.concat([
    Buffer.from('k8s\0'),
    encode([
      [1, [[1, apiVersion] as [number, Value], [2, kind]]],
      [2, object],
      [3, ''],
      [4, ''],
    ]),
  ]);

/** What Go writes for an ObjectMeta: every field that is no pointer, empty or not. */
const goMetadata = (name: string, ...more: Fields): [number, Fields] => [
  1,
  [[1, name], [2, ''], [3, ''], [4, ''], [5, ''], [6, ''], [7, 0], [8, []], ...more],
];

describe('protobuf bodies', () => {
  it('read as their JSON would', () => {
    const labels: Fields = [
      [1, 'a'],
      [2, 'b'],
    ];
    const owner: Fields = [
      [1, 'Job'],
      [3, 'j'],
      [4, 'u'],
      [5, 'batch/v1'],
      [6, false],
    ];
    assert.deepEqual(
      decodeProtobuf(
        wrap('v1', 'Secret', [
          goMetadata('s', [11, labels], [13, owner], [14, 'x/y'], [9, [[1, 1_700_000_000]]]),
          [
            2,
            [
              [1, 'k'],
              [2, Buffer.from([0, 255])],
            ],
          ],
          [
            4,
            [
              [1, '__proto__'],
              [2, ''],
            ],
          ],
          [3, 'Opaque'],
          [5, false],
        ]),
      ),
      JSON.parse(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","labels":{"a":"b"},
        "ownerReferences":[{"kind":"Job","name":"j","uid":"u","apiVersion":"batch/v1","controller":false}],
        "finalizers":["x/y"],"deletionTimestamp":"2023-11-14T22:13:20Z"},
        "data":{"k":"AP8="},"stringData":{"__proto__":""},"type":"Opaque","immutable":false}`),
    );
    assert.deepEqual(
      decodeProtobuf(
        wrap('serving.knative.dev/v1', 'DeleteOptions', [
          [1, 0],
          [4, 'Foreground'],
        ]),
      ),
      {
        apiVersion: 'serving.knative.dev/v1',
        kind: 'DeleteOptions',
        gracePeriodSeconds: 0,
        propagationPolicy: 'Foreground',
      },
    );
    const event = decodeProtobuf(
      wrap('v1', 'Event', [
        goMetadata('e'),
        [8, -1],
        [
          10,
          [
            [1, 1_700_000_000],
            [2, 5_000_000],
          ],
        ],
      ]),
    );
    assert.deepEqual([event['count'], event['eventTime']], [-1, '2023-11-14T22:13:20.005000Z']);
    const fieldsV1 = Buffer.from('{"f:data":{}}');
    const managed = decodeProtobuf(
      wrap('v1', 'ConfigMap', [
        goMetadata('c', [
          17,
          [
            [1, 'me'],
            [7, [[1, fieldsV1]]],
          ],
        ]),
      ]),
    );
    assert.deepEqual((managed['metadata'] as { managedFields: unknown }).managedFields, [
      { manager: 'me', fieldsV1: { 'f:data': {} } },
    ]);
  });

  it('skip fields of newer clients, of every wire type', () => {
    const later = Buffer.concat([
      encode([
        [900, 1],
        [901, 'x'],
      ]),
      Buffer.from([...varint((902n << 3n) | 1n), 1, 2, 3, 4, 5, 6, 7, 8, ...varint((903n << 3n) | 5n), 1, 2, 3, 4]),
    ]);
    const body = Buffer.concat([encode([[1, [[1, 'n']]]]), later]);
    const wrapped = Buffer.concat([
      Buffer.from('k8s\0'),
      encode([
        [
          1,
          [
            [1, 'v1'],
            [2, 'Namespace'],
          ],
        ],
        [2, body],
      ]),
    ]);
    assert.deepEqual(decodeProtobuf(wrapped)['metadata'], { name: 'n' });
  });

  it('are refused, by name, when they are wrong or of an unknown kind', () => {
    const refused = (body: Buffer, code: string, words: RegExp) =>
      assert.throws(
        () => decodeProtobuf(body),
        (error) => error instanceof EbbError && error.code === code && words.test(error.message),
      );
    refused(Buffer.from('{}'), 'BadRequest', /does not begin with/);
    refused(wrap('v1', 'ResourceQuota', []), 'UnsupportedMediaType', /not accepted for ResourceQuota of v1/);
    const whole = wrap('v1', 'Namespace', [goMetadata('n')]);
    refused(whole.subarray(0, whole.length - 5), 'BadRequest', /it ends within/);
    refused(Buffer.concat([Buffer.from('k8s\0'), Buffer.alloc(11, 0xff)]), 'BadRequest', /longer than 10 bytes/);
    refused(wrap('v1', 'Namespace', [[1, 5]]), 'BadRequest', /field 1 has the wrong wire type/);
    refused(wrap('v1', 'Namespace', [goMetadata('n', [1, Buffer.from([0xff])])]), 'BadRequest', /not valid/);
    refused(
      wrap(
        'v1',
        'ServiceAccount',
        Array.from({ length: 100_001 }, () => [2, []] as [number, Value]),
      ),
      'BadRequest',
      /more than/,
    );
  });

  it('never make anything but an object or an EbbError', () => {
    const bytes = fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b));
    const { fields } = fc.letrec<{ fields: Fields; value: Value }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.string(),
        bytes,
        tie('fields'),
      ),
      fields: fc.array(fc.tuple(fc.integer({ min: 1, max: 24 }), tie('value')), { maxLength: 6 }),
    }));
    const kind = fc.constantFrom(...kindMessages.keys());
    fc.assert(
      fc.property(kind, fields, fc.nat(), fc.option(fc.nat(255), { nil: undefined }), (name, object, at, byte) => {
        const slash = name.lastIndexOf('/');
        const body = wrap(slash < 0 ? 'v1' : name.slice(0, slash), name.slice(slash + 1), object);
        if (byte !== undefined) body[at % body.length] = byte;
        try {
          checkDepth(JSON.parse(JSON.stringify(decodeProtobuf(body))));
        } catch (error) {
          assert.ok(error instanceof EbbError && error.status < 500, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
