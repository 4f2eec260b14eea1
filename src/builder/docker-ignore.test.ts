import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dockerIgnore } from './docker-ignore.ts';

describe('dockerIgnore', () => {
  // Patterns and paths after Docker's documentation of .dockerignore.
  const cases: [string, string[], string[]][] = [
    ['# comment\n*/temp*', ['somedir/temporary.txt', 'somedir/temp', 'somedir/temp/x'], ['temp', 'a/b/temp']],
    ['*/*/temp*', ['a/b/temporary.txt'], ['a/temp']],
    ['temp?', ['tempa', 'tempb/x'], ['temp', 'tempab', 'x/tempa']],
    ['/foo/bar', ['foo/bar', 'foo/bar/x'], ['x/foo/bar', 'foo']],
    ['*.go', ['a.go'], ['x/a.go']],
    ['**/*.go', ['a.go', 'x/a.go', 'x/y/a.go'], ['a.gob']],
    ['**', ['a', 'a/b'], []],
    ['a/**/z', ['a/z', 'a/b/z', 'a/b/c/z'], ['az', 'a/bz']],
    ['*.md\n!README.md', ['a.md'], ['README.md']],
    ['*.md\n!README*.md\nREADME-secret.md', ['a.md', 'README-secret.md'], ['README.md', 'README-x.md']],
    ['dir\n!dir/keep', ['dir', 'dir/x'], ['dir/keep', 'dir/keep/y']],
    ['./a/../b/', ['b', 'b/c'], ['a']],
    ['[a-c].txt', ['a.txt', 'b.txt'], ['d.txt', '[a-c].txt']],
    ['[^a].txt', ['b.txt'], ['a.txt']],
    ['\\*.txt', ['*.txt'], ['a.txt']],
    ['a.b', ['a.b'], ['axb']],
    ['\r\n\n  \nx\r\n', ['x'], ['y']],
  ];
  for (const [text, ignored, kept] of cases) {
    it(JSON.stringify(text), () => {
      const rules = dockerIgnore(text);
      for (const path of ignored) assert.equal(rules.verdict(path), 'ignored', path);
      for (const path of kept) assert.notEqual(rules.verdict(path), 'ignored', path);
    });
  }

  it('knows which ignored folders need a look', () => {
    const rules = dockerIgnore('*\n!a/b\n!c/*/d\n!e');
    for (const folder of ['a', 'a/b', 'c', 'c/x', 'e']) assert.ok(rules.mayInclude(folder), folder);
    for (const folder of ['b', 'a/c']) assert.ok(!rules.mayInclude(folder), folder);
    assert.ok(dockerIgnore('*\n!**/x').mayInclude('any/where'));
  });

  it('names a pattern that cannot be understood', () => {
    assert.throws(() => dockerIgnore('[z-a]'), { code: 'BadIgnoreFile', message: /"\[z-a\]"/ });
  });
});
