import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { jsonLines } from './json-lines.ts';
import { lastWords } from './last-words.ts';
import { labelFrom, nameOfImage } from './names.ts';
import { createProgress } from './progress.ts';
import { verdictOf } from './rollout.ts';
import { wasCold } from './server-timing.ts';
import { styleFor } from './style.ts';
import { span, table } from './table.ts';

describe('labelFrom', () => {
  it('always gives a DNS-1035 label or nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const label = labelFrom(text);
        if (label !== undefined) assert.match(label, /^[a-z]([-a-z0-9]{0,53}[a-z0-9])?$/);
      }),
    );
  });
  it('keeps what can stay', () => {
    const cases = {
      My_App: 'my-app',
      '9lives': 'lives',
      Café: 'cafe',
      'a--b': 'a-b',
      '...': undefined,
      [`${'x'.repeat(70)}`]: 'x'.repeat(55),
    };
    for (const [text, label] of Object.entries(cases)) assert.equal(labelFrom(text), label, text);
  });
  it('takes the last part of an image', () => {
    const cases = {
      'ghcr.io/acme/My_App:1.2@sha256:ab': 'my-app',
      'localhost:5000/x': 'x',
      'oci-archive:/tmp/shop.tar': 'shop',
      'oci:layout:v1': 'layout',
    };
    for (const [reference, name] of Object.entries(cases)) assert.equal(nameOfImage(reference), name, reference);
  });
});

describe('jsonLines', () => {
  it('gives the values, wherever the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), fc.integer({ min: 1, max: 20 }), async (values, size) => {
        const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
        const chunks = async function* () {
          for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
        };
        const found: unknown[] = [];
        for await (const value of jsonLines(chunks())) found.push(value);
        assert.equal(JSON.stringify(found), JSON.stringify(values));
      }),
    );
  });
  it('refuses what is not JSON, and a line without end', async () => {
    const drain = async (chunks: Buffer[]) => {
      const stream = async function* () {
        yield* chunks;
      };
      for await (const _ of jsonLines(stream()));
    };
    await assert.rejects(drain([Buffer.from('<html>\n')]), { code: 'BadAnswer', message: /<html>/ });
    await assert.rejects(drain(Array<Buffer>(20).fill(Buffer.alloc(1024 * 1024, 0x20))), { code: 'BadAnswer' });
  });
});

describe('lastWords', () => {
  it('finds the sentence that tells why', () => {
    const cases: [string, string | undefined][] = [
      ['', undefined],
      ['{"level":"info","msg":"hi"}\nport 1 is taken\n', 'port 1 is taken'],
      [
        '{"level":"error","msg":"stopped","err":{"message":"no disk"}}\n{"level":"info","msg":"bye"}',
        'stopped: no disk',
      ],
      [
        'file:///x.ts:1\nthrow new Error("no")\n^\n\nError: no luck\n    at x\n    at y {\n}\n\nNode.js v24.1.0',
        'Error: no luck',
      ],
    ];
    for (const [log, words] of cases) assert.equal(lastWords(log), words);
  });
});

describe('verdictOf', () => {
  const service = (generation: number, observedGeneration: number, ...conditions: [string, string, string?][]) => ({
    metadata: { name: 'x', generation },
    status: {
      observedGeneration,
      conditions: conditions.map(([type, status, reason]) => ({ type, status, ...(reason ? { reason } : {}) })),
    },
  });
  it('believes only what is about this generation', () => {
    assert.equal(verdictOf(service(2, 1, ['Ready', 'True'])).state, 'waiting');
    assert.equal(verdictOf(service(2, 2, ['Ready', 'True'])).state, 'ready');
    assert.equal(verdictOf(service(2, 2, ['Ready', 'False'])).state, 'failed');
    assert.deepEqual(verdictOf(service(1, 1, ['Ready', 'Unknown'], ['RoutesReady', 'Unknown', 'Why'])), {
      state: 'waiting',
      what: 'RoutesReady: Why',
    });
    assert.equal(verdictOf({ metadata: { name: 'x' } }).state, 'waiting');
  });
});

describe('text for people', () => {
  it('aligns a table and keeps control characters out', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string()), { maxLength: 5 }), (rows) => {
        const columns = [
          { heading: 'A', value: (row: [string, string]) => row[0] },
          { heading: 'B', value: (row: [string, string]) => row[1] },
        ];
        const text = table(columns, rows);
        assert.equal(text.split('\n').length, rows.length + 2);
        assert.ok(!text.includes('\x1b') && !text.includes('\r'));
      }),
    );
  });
  it('shows spans in two units at most', () => {
    const cases: [number, string][] = [
      [0, '0s'],
      [119_000, '119s'],
      [125_000, '2m5s'],
      [3_600_000, '1h'],
      [100 * 3_600_000, '4d4h'],
    ];
    for (const [ms, text] of cases) assert.equal(span(ms), text);
  });
  it('tells cold starts', () => {
    assert.equal(wasCold('queue;dur=1.2, cold'), true);
    assert.equal(wasCold('cold;dur=3'), true);
    assert.equal(wasCold('coldish, warm'), false);
    assert.equal(wasCold(undefined), false);
  });
  it('says progress once a line without a terminal, and clears its spinner on one', () => {
    const said = (isTTY: boolean) => {
      let text = '';
      const stream = { isTTY, columns: 20, write: (t: string) => (text += t) };
      const progress = createProgress({ stream, style: styleFor({}, {}) });
      progress.update('one');
      progress.update('one');
      progress.done('two');
      progress[Symbol.dispose]();
      return text;
    };
    assert.equal(said(false), '  one\n✓ two\n');
    assert.ok(said(true).endsWith('\r\x1b[K✓ two\n'));
  });
});
