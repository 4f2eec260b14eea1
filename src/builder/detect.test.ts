import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { detect, type Listing } from './detect.ts';

function listing(files: Record<string, string>, executables: string[] = []): Listing {
  return {
    paths: new Set(Object.keys(files)),
    executables: new Set(executables.filter((path) => path in files)),
    text: (path) => files[path],
  };
}

const pkg = (value: object) => ({ 'package.json': JSON.stringify(value) });

describe('detect', () => {
  const cases: [string, Record<string, string>, object, string[]?][] = [
    ['Dockerfile', { Dockerfile: '', Procfile: 'web: x' }, { kind: 'dockerfile', file: 'Dockerfile' }],
    [
      'Procfile',
      { Procfile: 'web: ./serve --x' },
      { kind: 'procfile', argv: ['./serve', '--x'], runtimes: [], programs: [] },
    ],
    [
      'Procfile with Python packages',
      { Procfile: 'release: x\nweb: gunicorn app:app -b :$PORT\n', 'requirements.txt': '' },
      {
        kind: 'procfile',
        argv: ['/bin/sh', '-c', 'exec gunicorn app:app -b :$PORT'],
        runtimes: ['python'],
        programs: [],
      },
    ],
    [
      'Procfile with a program of the machine',
      { Procfile: 'web: ruby x.rb' },
      { kind: 'procfile', argv: ['ruby', 'x.rb'], runtimes: [], programs: ['ruby'] },
    ],
    [
      'Procfile with npm',
      { Procfile: 'web: npm start', ...pkg({ scripts: { start: 'node a.js' } }) },
      { kind: 'procfile', argv: ['node', 'a.js'], runtimes: ['node'], programs: [] },
    ],
    ['start', { start: '#!/bin/sh\n' }, { kind: 'start', argv: ['./start'], runtimes: [], programs: [] }, ['start']],
    [
      'start in Node',
      { start: '#!/usr/bin/env -S node --x\n' },
      { kind: 'start', argv: ['./start'], runtimes: ['node'], programs: [] },
      ['start'],
    ],
    [
      'start in Python',
      { start: '#!/usr/bin/python3\n' },
      { kind: 'start', argv: ['./start'], runtimes: ['python'], programs: [] },
      ['start'],
    ],
    [
      'start in bash',
      { start: '#!/bin/bash\n' },
      { kind: 'start', argv: ['./start'], runtimes: [], programs: ['/bin/bash'] },
      ['start'],
    ],
    [
      'start script',
      pkg({ scripts: { start: 'node a.js' } }),
      { kind: 'node', argv: ['node', 'a.js'], runtimes: ['node'], programs: [] },
    ],
    [
      'start script with a prestart',
      pkg({ scripts: { prestart: 'node b.js', start: 'npm run serve', serve: 'node a.js' } }),
      { kind: 'node', argv: ['/bin/sh', '-c', 'node b.js && exec node a.js'], runtimes: ['node'], programs: [] },
    ],
    [
      'main',
      { ...pkg({ main: './lib' }), 'lib/index.js': '' },
      { kind: 'node', argv: ['node', 'lib/index.js'], runtimes: ['node'], programs: [] },
    ],
    [
      'server.js',
      { 'server.js': '', 'index.html': '' },
      { kind: 'node', argv: ['node', 'server.js'], runtimes: ['node'], programs: [] },
    ],
    ['index.js', { 'index.js': '' }, { kind: 'node', argv: ['node', 'index.js'], runtimes: ['node'], programs: [] }],
    [
      "a page's own index.js",
      { 'index.js': '', 'index.html': '' },
      { kind: 'static', argv: ['node', '/opt/ebb/static-server.mjs'], runtimes: ['node'], programs: [] },
    ],
    [
      'package.json for tools only',
      { ...pkg({ main: 'gone.js' }), 'main.py': '' },
      { kind: 'python', argv: ['python3', 'main.py'], runtimes: ['node', 'python'], programs: [] },
    ],
    ['app.py', { 'app.py': '' }, { kind: 'python', argv: ['python3', 'app.py'], runtimes: ['python'], programs: [] }],
  ];
  for (const [name, files, expected, executables] of cases) {
    it(name, () => assert.deepEqual(detect(listing(files, executables)), expected));
  }

  it('takes what is said explicitly before what is guessed, whatever else is there', () => {
    const markers: [string, string, string][] = [
      ['Dockerfile', '', 'dockerfile'],
      ['Procfile', 'web: x', 'procfile'],
      ['start', '#!/bin/sh', 'start'],
      ['package.json', '{"scripts":{"start":"x"}}', 'node'],
      ['main.py', '', 'python'],
      ['index.html', '', 'static'],
    ];
    fc.assert(
      fc.property(
        fc.subarray(markers, { minLength: 1 }),
        fc.dictionary(fc.stringMatching(/^z[a-z]+\/[a-z]+$/), fc.constant('')),
        (some, other) => {
          const files = { ...other, ...Object.fromEntries(some) };
          assert.equal(detect(listing(files, ['start'])).kind, some[0]?.[2]);
        },
      ),
    );
  });

  it('says what would be recognised', () => {
    assert.throws(() => detect(listing({ 'notes.txt': '' })), {
      code: 'SourceNotRecognised',
      message: /found notes\.txt.*Dockerfile.*Procfile.*start.*package\.json.*main\.py.*index\.html/,
    });
    assert.throws(() => detect(listing({})), { code: 'SourceNotRecognised', message: /it is empty/ });
    assert.throws(() => detect(listing({ start: '#!/bin/sh' })), { code: 'SourceNotRecognised' });
    assert.throws(() => detect(listing({ Procfile: 'worker: x' })), { code: 'BadProcfile' });
    assert.throws(() => detect(listing({ 'package.json': '{' })), { code: 'BadPackageJson' });
    assert.throws(() => detect(listing({ 'package.json': '[]' })), { code: 'BadPackageJson' });
  });
});
