import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDuration, parseTimeSpan } from './duration.ts';

describe('parseDuration reads Go durations', () => {
  const table: [string, number | undefined][] = [
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['3µs', 0.003],
    ['.5s', 500],
    ['0', 0],
    ['-1s', -1000],
    ['10', undefined],
    ['1d', undefined],
    ['', undefined],
    ['s', undefined],
    ['1s ', undefined],
    ['9'.repeat(400) + 's', undefined],
  ];
  for (const [text, ms] of table) it(`${text.slice(0, 12)} is ${ms}`, () => assert.equal(parseDuration(text), ms));
});

describe('parseTimeSpan reads what people type', () => {
  const table: [string, number | undefined][] = [
    ['2d', 172_800_000],
    ['90s', 90_000],
    ['-1s', undefined],
    ['1d12h', undefined],
    ['soon', undefined],
  ];
  for (const [text, ms] of table) it(`${text} is ${ms}`, () => assert.equal(parseTimeSpan(text), ms));
});
