import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Spawner } from '../platform/spawn.ts';
import { installPythonPackages, pythonDependencies } from './python-dependencies.ts';

let root: string;
beforeEach(async () => void (root = await mkdtemp(join(tmpdir(), 'ebb-requirements-'))));
afterEach(() => rm(root, { recursive: true, force: true }));

const write = (text: string, name = 'requirements.txt') => writeFile(join(root, name), text);

describe('pythonDependencies', () => {
  it('is undefined when nothing is asked for', async () => {
    assert.equal(await pythonDependencies(root), undefined);
    await write('# nothing\n\n--index-url https://x.example\n');
    assert.equal(await pythonDependencies(root), undefined);
  });

  it('takes names, versions, markers, hashes and wheels', async () => {
    const lines = [
      ...['flask', 'Flask_x.y-z==1.0', 'a[b,c] >= 1, < 2 ; python_version < "3.9"', 'a~=1.0 # why', 'b (>=1)'],
      ...['c==1 \\\n  --hash=sha256:00', 'd @ https://x.example/d-1-py3-none-any.whl#sha256=0', '--pre'],
    ];
    for (const line of lines) {
      await write(`${line}\nz\n`);
      assert.ok(await pythonDependencies(root), line);
    }
  });

  it('refuses what would run code of its own or leave the folder', async () => {
    const lines = [
      ...['-e .', '.', './x', '/x', 'file:///x', 'git+https://x.example/y', 'a @ git+https://x.example/y', 'x.tar.gz/'],
      ...[
        'a @ https://x.example/a.tar.gz',
        '--no-binary :all:',
        '--find-links /x',
        '-r ../x',
        '-c gone.txt',
        '-r /etc/passwd',
      ],
    ];
    for (const line of lines) {
      await write(`a\n${line}\n`);
      await assert.rejects(pythonDependencies(root), { code: 'BadRequirement' }, line);
    }
  });

  it('has another key when an included file is another', async () => {
    await mkdir(join(root, 'more'));
    await write('-r more/base.txt\n-c constraints.txt\n');
    await write('a\n-r other.txt\n', 'more/base.txt');
    await write('b\n', 'more/other.txt');
    await write('a==1\n', 'constraints.txt');
    const first = await pythonDependencies(root);
    assert.deepEqual(
      [...(first?.files.keys() ?? [])],
      ['requirements.txt', 'more/base.txt', 'more/other.txt', 'constraints.txt'],
    );
    await write('a==2\n', 'constraints.txt');
    assert.notEqual((await pythonDependencies(root))?.key, first?.key);
  });
});

describe('installPythonPackages', () => {
  it('says that the index cannot be reached', async () => {
    await write('flask\n');
    const wanted = await pythonDependencies(root);
    assert.ok(wanted);
    const stderr =
      'WARNING: Retrying after connection broken by NewConnectionError(...)\nERROR: Could not find a version\n';
    const spawner: Spawner = {
      run: (_command, args) => Promise.resolve({ code: args.includes('install') ? 1 : 0, stdout: '', stderr }),
    };
    const python = { executable: '/usr/bin/python3', version: '3', libraries: [], cacheTag: '', magic: '' };
    const folder = join(root, 'scratch');
    const deps = { folder, pipCache: join(root, 'pip'), env: {}, spawner };
    await assert.rejects(installPythonPackages(wanted, python, deps), { code: 'PackageIndexUnreachable' });
  });
});
