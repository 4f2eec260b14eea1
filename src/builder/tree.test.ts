import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, realpath, rm, symlink, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readElf } from './elf.ts';
import { HostFiles, Tree } from './tree.ts';

describe('HostFiles', () => {
  it('finds the libraries that the loader finds', async (t) => {
    for (const program of [process.execPath, '/usr/bin/ls', '/usr/bin/python3']) {
      const real = await realpath(program).catch(() => undefined);
      if (real === undefined) continue;
      let listed: string;
      try {
        listed = execFileSync('ldd', [real], { encoding: 'utf8' });
      } catch {
        return t.skip('no ldd here');
      }
      const tree = new Tree();
      const host = new HostFiles(tree);
      await host.add(real);
      const has = new Set(tree.entries().map((entry) => `/${entry.path}`));
      for (const [, path] of listed.matchAll(/(?:=>|^)\s*(\/\S+) \(0x/gm)) {
        assert.ok(has.has(await realpath(path ?? '')), `${program}: ${path}`);
      }
      assert.deepEqual([...host.missing], []);
    }
  });

  it('says nothing about files that are no ELF', async () => {
    assert.equal(await readElf(import.meta.filename), undefined);
  });

  let dir: string;
  before(async () => void (dir = await realpath(await mkdtemp(join(tmpdir(), 'ebb-tree-')))));
  after(() => rm(dir, { recursive: true, force: true }));

  it('keeps every link on the way and what it leads to', async () => {
    await mkdir(join(dir, 'real'));
    await writeFile(join(dir, 'real', 'file-1'), 'x');
    await symlink('file-1', join(dir, 'real', 'file'));
    await symlink(join(dir, 'real'), join(dir, 'folder'));
    await symlink('loop', join(dir, 'loop'));
    const tree = new Tree();
    const host = new HostFiles(tree);
    assert.ok(await host.add(join(dir, 'folder', 'file')));
    for (const path of ['folder', 'real', 'real/file', 'real/file-1']) assert.ok(tree.has(join(dir, path)), path);
    assert.equal(await host.add(join(dir, 'gone')), false);
    assert.equal(await host.add(join(dir, 'loop')), false);
  });
});

describe('Tree', () => {
  it('lists parents first and the same files in the same order, however they came', () => {
    const name = fc.constantFrom('a', 'b', 'a.b', 'a-b', 'é', 'a b');
    const paths = fc.uniqueArray(fc.array(name, { minLength: 1, maxLength: 4 }).map((p) => p.join('/')));
    fc.assert(
      fc.property(paths, fc.infiniteStream(fc.nat()), (all, order) => {
        const one = new Tree();
        for (const path of all) one.directory(path);
        const other = new Tree();
        const shuffled = all.map((path) => [order.next().value ?? 0, path] as const).sort(([a], [b]) => a - b);
        for (const [, path] of shuffled) other.directory(`/${path}/`);
        assert.deepEqual(one.entries(), other.entries());
        assert.equal(one.fingerprint(), other.fingerprint());
        const seen = new Set(['.']);
        for (const { path } of one.entries()) {
          assert.ok(seen.has(path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.'), path);
          seen.add(path);
        }
      }),
    );
  });

  it('has another fingerprint when anything is another', () => {
    const make = (change: (tree: Tree) => void) => {
      const tree = new Tree();
      tree.text('a', 'x');
      change(tree);
      return tree.fingerprint();
    };
    const all = [
      make(() => undefined),
      make((tree) => tree.text('a', 'y')),
      make((tree) => tree.text('a', 'x', 0o755)),
      make((tree) => tree.symlink('a', 'x')),
      make((tree) => tree.text('b', 'x')),
      make((tree) => tree.directory('b', 0o755, { uid: 1 })),
    ];
    assert.equal(new Set(all).size, all.length);
  });
});
