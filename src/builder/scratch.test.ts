import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { boundCache, scratchFolder, sweepScratch } from './scratch.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'ebb-scratch-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('scratch space', () => {
  it('goes when it is disposed, with what it holds', async () => {
    const scratch = join(dir, 'a', 'b');
    {
      await using folder = await scratchFolder(scratch, 'x');
      await writeFile(join(folder.path, 'file'), '');
      assert.equal((await readdir(scratch)).length, 1);
    }
    assert.deepEqual(await readdir(scratch), []);
  });

  it('is swept of what killed builds left, but not of what may be in use', async () => {
    for (const [name, ageHours] of [
      ['old', 25],
      ['new', 23],
    ] as const) {
      await mkdir(join(dir, name));
      await utimes(join(dir, name), 1_000_000 - ageHours * 3600, 1_000_000 - ageHours * 3600);
    }
    await sweepScratch(dir, 1_000_000_000);
    assert.deepEqual(await readdir(dir), ['new']);
    await sweepScratch(join(dir, 'not there'), 0);
  });

  it('empties a cache that has grown too large', async () => {
    const cache = join(dir, 'cache');
    await mkdir(join(cache, 'sub'), { recursive: true });
    await writeFile(join(cache, 'sub', 'file'), '12345');
    await boundCache(cache, 5, join(dir, 'scratch'));
    assert.deepEqual(await readdir(cache), ['sub']);
    await boundCache(cache, 4, join(dir, 'scratch'));
    assert.deepEqual(await readdir(dir), ['scratch']);
    await boundCache(cache, 4, join(dir, 'scratch'));
  });
});
