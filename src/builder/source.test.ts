import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { readSmall, readSource, type ModulesRole, type SourceLimits } from './source.ts';

let root: string;
beforeEach(async () => void (root = await realpath(await mkdtemp(join(tmpdir(), 'ebb-source-')))));
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

async function read(options: { modules?: ModulesRole; limits?: SourceLimits; notes?: string[] } = {}) {
  const notes = (message: string) => void options.notes?.push(message);
  const { modules = 'plain', limits } = options;
  return readSource({ root, texts: new Map(), modules, notes, ...(limits ? { limits } : {}) });
}

const pathsOf = async (modules: ModulesRole = 'plain') => [...(await read({ modules })).paths].sort();

describe('readSource', () => {
  it('follows .gitignore files at every depth', async () => {
    await write({
      '.gitignore': '*.log\n/only-here\ndist/\n',
      'a.log': '',
      'only-here': '',
      'x/only-here': '',
      'x/.gitignore': '!keep.log\n/own\ndeep/*.tmp\nany.txt\n',
      'x/keep.log': '',
      'x/own': '',
      'x/y/own': '',
      'x/deep/a.tmp': '',
      'x/y/any.txt': '',
      'dist/a': '',
      'any.txt': '',
    });
    assert.deepEqual(await pathsOf(), [
      '.gitignore',
      'any.txt',
      'x/.gitignore',
      'x/keep.log',
      'x/only-here',
      'x/y/own',
    ]);
  });

  it('agrees with git itself', async () => {
    const name = fc.constantFrom('a', 'b', 'ab', 'c.x', '[a]', 'a b');
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    const atom = fc.constantFrom('a', 'b', 'ab', '*', '*.x', '?', '**', 'a*', '[ab]', '\\[a\\]');
    const pattern = fc
      .tuple(
        fc.constantFrom('', '', '!'),
        fc.constantFrom('', '/'),
        fc.array(atom, { minLength: 1, maxLength: 3 }),
        fc.constantFrom('', '', '/'),
      )
      .map(([not, start, parts, end]) => `${not}${start}${parts.join('/')}${end}`);
    const rules = fc.array(pattern, { maxLength: 3 }).map((lines) => lines.join('\n'));
    await fc.assert(
      fc.asyncProperty(fc.array(path, { minLength: 1, maxLength: 8 }), rules, rules, async (paths, top, nested) => {
        await rm(root, { recursive: true, force: true });
        await mkdir(root);
        for (const [i, each] of [...paths, 'a/z'].entries()) {
          // A path may need a folder where an earlier one has a file: that one is left out.
          await write({ [each]: String(i) }).catch(() => undefined);
        }
        await write({ '.gitignore': top });
        await write({ 'a/.gitignore': nested }).catch(() => undefined);
        execFileSync('git', ['init', '-q'], { cwd: root, env: { PATH: process.env['PATH'], HOME: root } });
        const expected = execFileSync(
          'git',
          ['-c', 'core.excludesFile=', 'ls-files', '-z', '--others', '--exclude-standard'],
          { cwd: root },
        )
          .toString()
          .split('\0')
          .filter((p) => p !== '');
        assert.deepEqual(await pathsOf(), expected.sort());
      }),
      { numRuns: 60 },
    );
  });

  it('lets .ebbignore take back in what git leaves out, and leave out more', async () => {
    await write({
      '.gitignore': 'dist/\n',
      '.ebbignore': '!dist/\n*.md\n',
      '.dockerignore': '*',
      'dist/a': '',
      'b.md': '',
      c: '',
    });
    assert.deepEqual(await pathsOf(), ['.dockerignore', '.ebbignore', '.gitignore', 'c', 'dist/a']);
  });

  it('follows .dockerignore by its own rules', async () => {
    await write({
      '.dockerignore': '*\n!src/keep\n!*.js',
      'a.js': '',
      b: '',
      'src/keep/x': '',
      'src/other': '',
      'x/a.js': '',
    });
    assert.deepEqual(await pathsOf(), ['a.js', 'src/keep/x']);
  });

  it('takes a bundled node_modules whole, leaves out one that npm makes, and .git and .npmrc always', async () => {
    await write({
      '.gitignore': 'node_modules\n*.log',
      '.npmrc': 'token',
      '.git/config': '',
      'node_modules/p/.gitignore': 'x',
      'node_modules/p/x': '',
      'node_modules/p/a.log': '',
      'w/node_modules/q': '',
    });
    assert.deepEqual(await pathsOf('plain'), ['.gitignore']);
    assert.deepEqual(await pathsOf('installed'), ['.gitignore']);
    const bundled = ['.gitignore', 'node_modules/p/.gitignore', 'node_modules/p/a.log', 'node_modules/p/x'];
    assert.deepEqual(await pathsOf('bundled'), bundled);
  });

  it('normalises modes and keeps links that stay inside', async () => {
    await write({ 'a/run': '', 'a/plain': '' });
    await chmod(join(root, 'a/run'), 0o4711);
    await chmod(join(root, 'a/plain'), 0o600);
    await symlink('../a/run', join(root, 'a/link'));
    await symlink('nowhere', join(root, 'a/dangling'));
    const entries = (await read()).tree.entries().map((e) => [e.path, e.type === 'symlink' ? e.target : e.mode]);
    assert.deepEqual(entries, [
      ['app', 0o755],
      ['app/a', 0o755],
      ['app/a/dangling', 'nowhere'],
      ['app/a/link', '../a/run'],
      ['app/a/plain', 0o644],
      ['app/a/run', 0o755],
    ]);
  });

  it('refuses links that lead out, directly or by another link', async () => {
    for (const target of ['/etc/passwd', '../x', 'a/../../x', `${root}/y`]) {
      await symlink(target, join(root, 'bad'));
      await assert.rejects(read(), { code: 'SymlinkOutside', message: /^bad is a symbolic link/ });
      await rm(join(root, 'bad'));
    }
    await write({ '.ebbignore': 'hidden', a: '' });
    await symlink('/etc', join(root, 'hidden'));
    await read();
    await symlink('hidden/passwd', join(root, 'second'));
    await assert.rejects(read(), { code: 'SymlinkOutside' });
    assert.equal(await readSmall(root, 'second'), undefined);
  });

  it('leaves out pipes with a note', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const notes: string[] = [];
    assert.equal((await read({ notes })).paths.size, 0);
    assert.deepEqual(notes, ['pipe is a socket, pipe or device: left out']);
  });

  it('refuses too many files and too many bytes', async () => {
    await write({ a: '12345', b: '12345', c: '' });
    await assert.rejects(read({ limits: { files: 2, bytes: 100 } }), { code: 'SourceTooLarge', message: /at most 2/ });
    await assert.rejects(read({ limits: { files: 10, bytes: 9 } }), { code: 'SourceTooLarge', message: /ebbignore/ });
    assert.equal((await read({ limits: { files: 3, bytes: 10 } })).bytes, 10);
  });
});
