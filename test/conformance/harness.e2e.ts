import { test } from 'node:test';
import assert from 'node:assert/strict';
import { answerTo } from './namespace.ts';
import { outcomeOf, surprises, type Result } from './report.ts';

const events = (...list: object[]) => list.map((event) => JSON.stringify(event)).join('\n');
const output = (text: string) => ({ Action: 'output', Test: 'TestA', Output: text });

test('the outcome of a test is read from what test2json says', () => {
  assert.deepEqual(outcomeOf(events(output('ok\n'), { Action: 'pass', Test: 'TestA' }), 'TestA'), {
    outcome: 'pass',
    reason: '',
    text: 'ok\n',
  });
  const failed = events(
    output('    a_test.go:7: created\n'),
    output('    a_test.go:9: status = 502, want 200\n'),
    { Action: 'fail', Test: 'TestA/h2c' },
    { Action: 'fail', Test: 'TestA' },
  );
  assert.equal(outcomeOf(failed, 'TestA').reason, 'h2c: status = 502, want 200');
  const late = events(output('panic: test timed out after 3m0s\n'));
  assert.deepEqual(outcomeOf(late, 'TestA').reason, 'test timed out after 3m0s');
  const skipped = outcomeOf(events(output('    a_test.go:3: not here\n'), { Action: 'skip', Test: 'TestA' }), 'TestA');
  assert.deepEqual([skipped.outcome, skipped.reason], ['skip', 'not here']);
  assert.equal(outcomeOf('', 'TestA').outcome, 'fail', 'no result is no pass');
});

test('expectations bind in both directions', () => {
  const result = (name: string, outcome: Result['outcome']): Result => ({ name, outcome, reason: '', ms: 1 });
  const expectations = { TestB: { outcome: 'fail', reason: 'not yet' } } as const;
  assert.deepEqual(surprises([result('TestA', 'pass'), result('TestB', 'fail')], expectations, true), []);
  assert.equal(surprises([result('TestA', 'fail'), result('TestB', 'fail')], expectations, true).length, 1);
  assert.equal(surprises([result('TestA', 'skip'), result('TestB', 'fail')], expectations, true).length, 1);
  assert.match(surprises([result('TestB', 'pass')], expectations, true)[0] ?? '', /take it out/);
  assert.match(surprises([result('TestA', 'pass')], expectations, true)[0] ?? '', /no test of the suite/);
  assert.deepEqual(surprises([result('TestA', 'pass')], expectations, false), [], 'not all were run');
});

test('every name leads to 127.0.0.1', () => {
  const question = (type: number) =>
    Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 4, 116, 101, 115, 116, 0, 0, type, 0, 1]);
  const answer = answerTo(question(1));
  assert.deepEqual(answer?.subarray(-4), Buffer.from([127, 0, 0, 1]));
  assert.equal(answer?.readUInt16BE(6), 1);
  assert.equal(answerTo(question(28))?.readUInt16BE(6), 0, 'and has no IPv6 address');
  assert.equal(answerTo(Buffer.alloc(5)), undefined);
  assert.equal(answerTo(question(1).subarray(0, 18)), undefined);
});
