import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { getCondition, readyOf, setCondition } from './conditions.ts';
import { humanDuration, parseDuration } from './durations.ts';
import { isDns1035Label, isDns1123Label, isDns1123Subdomain, isQualifiedName } from './names.ts';
import { cpuMillis, memoryBytes, parseQuantity } from './quantities.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';
import type { EbbError } from '../platform/errors.ts';

describe('quantities', () => {
  it('reads what Kubernetes reads', () => {
    const table: [string | number, number | undefined][] = [
      ['500m', 0.5],
      ['1', 1],
      [1.5, 1.5],
      ['.5', 0.5],
      ['2.', 2],
      ['256Mi', 256 * 1024 * 1024],
      ['1e3', 1000],
      ['1E3', 1000],
      ['1E', 1e18],
      ['1k', 1000],
      ['-1', -1],
      ['', undefined],
      ['64MB', undefined],
      ['1K', undefined],
      ['1e3Mi', undefined],
      ['0x10', undefined],
      [' 1', undefined],
      ['1e999', undefined],
    ];
    for (const [text, value] of table) assert.equal(parseQuantity(text), value, String(text));
    assert.equal(cpuMillis('0.1'), 100);
    assert.equal(cpuMillis('1u'), 1);
    assert.equal(memoryBytes('64Mi'), 67108864);
  });
});

describe('durations', () => {
  it('reads Go durations', () => {
    const table: [string, number | undefined][] = [
      ['1m30s', 90_000],
      ['250ms', 250],
      ['1.5h', 5_400_000],
      ['0', 0],
      ['-5s', -5000],
      ['', undefined],
      ['5', undefined],
      ['5 s', undefined],
      ['s', undefined],
    ];
    for (const [text, value] of table) assert.equal(parseDuration(text), value, text);
  });

  it('shows ages as kubectl does', () => {
    const s = 1000;
    const table: [number, string][] = [
      [0, '0s'],
      [119 * s, '119s'],
      [125 * s, '2m5s'],
      [600 * s, '10m'],
      [3 * 3600 * s, '3h'],
      [(3 * 3600 + 60) * s, '3h1m'],
      [47 * 3600 * s, '47h'],
      [50 * 3600 * s, '2d2h'],
      [30 * 86_400 * s, '30d'],
      [800 * 86_400 * s, '2y70d'],
    ];
    for (const [ms, text] of table) assert.equal(humanDuration(ms), text);
  });
});

describe('names', () => {
  it('follow the RFCs', () => {
    assert.ok(isDns1035Label('a-1') && !isDns1035Label('1-a') && !isDns1035Label('a-') && !isDns1035Label('A'));
    assert.ok(isDns1123Label('1-a') && !isDns1123Label('a.b') && !isDns1123Label('a'.repeat(64)));
    assert.ok(isDns1123Subdomain('a.b-c.d') && !isDns1123Subdomain('a..b'));
    assert.ok(
      isQualifiedName('ebb.dev/x_Y.z') && !isQualifiedName('/x') && !isQualifiedName('a/b/c') && !isQualifiedName(''),
    );
  });
});

describe('selectors', () => {
  const labels = { app: 'web', tier: 'a', empty: '' };
  const table: [string, boolean][] = [
    ['app=web', true],
    ['app==web,tier!=b', true],
    ['app in (api, web),tier notin (b,c)', true],
    ['app notin (web)', false],
    ['app', true],
    ['!app', false],
    ['!none', true],
    ['none!=x', true],
    ['empty=', true],
    ['ebb.dev/x=y', false],
  ];
  for (const [text, expected] of table) it(text, () => assert.equal(parseLabelSelector(text)?.(labels), expected));

  it('are refused when they cannot be read', () => {
    for (const text of ['a=b c', 'a in b', 'a in (b', '=', ',', 'a=b,', 'A B', 'a=*']) {
      assert.throws(
        () => parseLabelSelector(text),
        (e: EbbError) => e.code === 'BadRequest',
        text,
      );
    }
    assert.throws(
      () => parseFieldSelector('metadata.name'),
      (e: EbbError) => e.code === 'BadRequest',
    );
    assert.deepEqual(parseFieldSelector('a.b=c,d!=e'), [
      { field: 'a.b', op: '=', value: 'c' },
      { field: 'd', op: '!=', value: 'e' },
    ]);
  });
});

describe('conditions', () => {
  it('keep the time of the last change, and no other', () => {
    const one = setCondition([], { type: 'B', status: 'Unknown' }, 0);
    const same = setCondition(one, { type: 'B', status: 'Unknown' }, 60_000);
    assert.deepEqual(same, one);
    const changed = setCondition(same, { type: 'B', status: 'False', reason: 'X' }, 60_000);
    assert.equal(getCondition(changed, 'B')?.lastTransitionTime, '1970-01-01T00:01:00Z');
  });

  it('make Ready: False wins over Unknown, Info does not count', () => {
    const all = (...statuses: ('True' | 'False' | 'Unknown')[]) =>
      statuses.map((status, i) => ({ type: `C${i}`, status, reason: `R${i}` }));
    assert.equal(readyOf(all('True', 'True'), ['C0', 'C1']).status, 'True');
    assert.deepEqual(readyOf(all('Unknown', 'False'), ['C0', 'C1']), { type: 'Ready', status: 'False', reason: 'R1' });
    assert.equal(readyOf(all('True'), ['C0', 'C1']).status, 'Unknown', 'not told yet');
    const info = [{ type: 'Active', status: 'False' as const, severity: 'Info' as const }];
    assert.equal(readyOf(info, ['Active']).status, 'True');
  });
});
