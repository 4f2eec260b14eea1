import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planGarbage, planRoots } from './collect.ts';
import { digestOf } from './digest.ts';
import { SharedWork } from './shared-work.ts';

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(digestOf) as [
  ReturnType<typeof digestOf>,
  ...ReturnType<typeof digestOf>[],
];

describe('collection', () => {
  it('starts from tags, from what runs, and from digests asked for lately', () => {
    const names = [
      { name: 'x.io/a:1', manifest: a },
      { name: `x.io/a@${b}`, manifest: b! },
      { name: `x.io/a@${c}`, manifest: c! },
      { name: `x.io/a@${a}`, manifest: a },
    ];
    const usedAt = new Map([
      [a, 1],
      [b!, 1],
      [c!, 9],
    ]);
    const { roots, untag } = planRoots({ names, inUse: [d!], usedAt, before: 5 });
    assert.deepEqual(roots, new Set([d, a, c]));
    assert.deepEqual(untag, [`x.io/a@${b}`]);
  });

  it('takes only what is out of reach and long unused', () => {
    const usedAt = new Map([
      [a, 1],
      [b!, 1],
      [c!, 5],
    ]);
    assert.deepEqual(planGarbage({ reachable: new Set([a]), usedAt, before: 5 }), [b]);
  });
});

describe('shared work', () => {
  it('is done once for all who wait, and aborted when the last has gone', async () => {
    const shared = new SharedWork<string, number, string>();
    let runs = 0;
    const aborted = Promise.withResolvers<void>();
    const work = (signal: AbortSignal, report: (p: string) => void) => {
      runs += 1;
      report('begun');
      signal.addEventListener('abort', () => aborted.resolve());
      return new Promise<number>(() => undefined);
    };
    const [one, two] = [new AbortController(), new AbortController()];
    const first = shared.run('k', work, { signal: one.signal });
    const second = shared.run('k', work, { signal: two.signal });
    one.abort(new Error('one'));
    await assert.rejects(first, /one/);
    two.abort(new Error('two'));
    await assert.rejects(second, /two/);
    await aborted.promise;
    assert.equal(runs, 1);
    assert.equal(await shared.run('k', () => Promise.resolve(7)), 7);
  });

  it('shares failures too, and forgets them', async () => {
    const shared = new SharedWork<string, number, never>();
    const fail = () => Promise.reject(new Error('no'));
    const both = await Promise.allSettled([shared.run('k', fail), shared.run('k', () => Promise.resolve(1))]);
    assert.deepEqual(
      both.map((r) => r.status),
      ['rejected', 'rejected'],
    );
    assert.equal(await shared.run('k', () => Promise.resolve(1)), 1);
  });
});
