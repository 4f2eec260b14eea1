import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { argvOf, simpleWords } from './command.ts';

describe('argvOf', () => {
  const shell = (line: string) => ['/bin/sh', '-c', line];
  const cases: [string, string[]][] = [
    ['node server.js', ['node', 'server.js']],
    [`node  "a b.js" 'c'd`, ['node', 'a b.js', 'cd']],
    ['node a.js --port $PORT', shell('exec node a.js --port $PORT')],
    ['node a.js --port ${PORT:-80}', shell('exec node a.js --port ${PORT:-80}')],
    ['FOO=1 node a.js', shell('exec env FOO=1 node a.js')],
    ['cd x && node a.js', shell('cd x && exec node a.js')],
    ['a & b', shell('a & b')],
    ['a | b', shell('a | b')],
    ['exec node a.js > /tmp/x', shell('exec node a.js > /tmp/x')],
    ['(cd x; y)', shell('(cd x; y)')],
    ['if x; then y; fi', shell('if x; then y; fi')],
    ['while true; do x; done', shell('while true; do x; done')],
  ];
  for (const [line, expected] of cases) it(line, () => assert.deepEqual(argvOf(line), expected));

  it('splits words as the shell does', () => {
    const line = fc.stringMatching(/^[a-c="' \\$.*~-]{1,12}$/);
    fc.assert(
      fc.property(line, (text) => {
        const words = simpleWords(`printf ${text}`);
        if (words === undefined) return;
        const said = execFileSync('/bin/sh', [
          '-c',
          `for w in "$@"; do :; done; set -- ${text}\nprintf '%s\\0' "$#" "$@"`,
        ]);
        assert.deepEqual([String(words.length - 1), ...words.slice(1), ''], [...said.toString().split('\0')]);
      }),
      { numRuns: 60 },
    );
  });
});
