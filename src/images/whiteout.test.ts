import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../platform/errors.ts';
import type { TarEntry, TarType } from './tar.ts';
import { defaultLayerLimits, LayerRules } from './whiteout.ts';

type Short = [type: TarType, path: string, target?: string];

function entry([type, path, target = '']: Short): TarEntry {
  const numbers = { mode: 0o750, uid: 7, gid: 8, mtime: '5', size: 0, device: { major: 0, minor: 0 } };
  return { path, type, target, xattrs: new Map(), ...numbers };
}

/** `directory a`, `character gone`, with `+opaque` for opaque directories. */
function rewrite(...entries: Short[]) {
  const rules = new LayerRules(defaultLayerLimits);
  const all = [...entries.flatMap((short) => rules.admit(entry(short))), ...rules.finish()];
  const out = all.map((e) => `${e.type} ${e.path}${e.xattrs.has('trusted.overlay.opaque') ? '+opaque' : ''}`);
  return { out, all, facts: rules.facts() };
}

describe('layer rules', () => {
  const tables: { name: string; from: Short[]; to: string[] }[] = [
    {
      name: 'plain entries stay',
      from: [
        ['directory', './'],
        ['file', './a'],
        ['symlink', 'b', '../../x'],
      ],
      to: ['directory .', 'file a', 'symlink b'],
    },
    {
      name: 'a whiteout becomes a device, at the end',
      from: [
        ['file', '.wh.a'],
        ['file', 'b'],
      ],
      to: ['file b', 'character a'],
    },
    {
      name: 'a whiteout does not hide its own layer',
      from: [
        ['file', 'a'],
        ['file', '.wh.a'],
      ],
      to: ['file a'],
    },
    {
      name: 'a whiteout beside a directory of its name makes that opaque',
      from: [
        ['file', '.wh.d'],
        ['directory', 'd'],
      ],
      to: ['directory d', 'directory d+opaque'],
    },
    {
      name: 'an opaque mark before its directory',
      from: [
        ['file', 'd/.wh..wh..opq'],
        ['directory', 'd'],
      ],
      to: ['directory d', 'directory d', 'directory d+opaque'],
    },
    {
      name: 'an opaque mark after',
      from: [
        ['directory', 'd'],
        ['file', 'd/x'],
        ['file', 'd/.wh..wh..opq'],
      ],
      to: ['directory d', 'file d/x', 'directory d+opaque'],
    },
    {
      name: 'whiteouts in an opaque directory say nothing new',
      from: [
        ['directory', 'd'],
        ['file', 'd/.wh..wh..opq'],
        ['file', 'd/.wh.y'],
      ],
      to: ['directory d', 'directory d+opaque'],
    },
    { name: 'parents are made', from: [['file', 'a/b/c']], to: ['directory a', 'directory a/b', 'file a/b/c'] },
    {
      name: 'aufs bookkeeping is left out',
      from: [
        ['directory', '.wh..wh.plnk'],
        ['file', '.wh..wh.plnk/1'],
        ['file', '.wh..wh.aufs'],
      ],
      to: [],
    },
    {
      name: 'hard links to files of the layer',
      from: [
        ['file', 'a'],
        ['link', 'b', './a'],
      ],
      to: ['file a', 'link b'],
    },
  ];
  for (const { name, from, to } of tables) it(name, () => assert.deepEqual(rewrite(...from).out, to));

  it('keeps the owner and mode of a directory that becomes opaque', () => {
    const { all } = rewrite(['directory', 'd'], ['file', 'd/.wh..wh..opq']);
    assert.deepEqual([all.at(-1)?.mode, all.at(-1)?.uid, all.at(-1)?.mtime], [0o750, 7, '5']);
  });

  it('tells which directories it made up, and of an opaque root', () => {
    assert.deepEqual(rewrite(['file', 'a/b/c'], ['directory', 'a']).facts, { opaqueRoot: false, impliedDirs: ['a/b'] });
    assert.equal(rewrite(['file', '.wh..wh..opq']).facts.opaqueRoot, true);
  });

  it('drops the xattrs that steer overlayfs and those of another machine', () => {
    const kept = ['user.k', 'security.capability', 'trusted.x', 'system.posix_acl_access'];
    const dropped = ['trusted.overlay.redirect', 'user.overlay.opaque', 'security.selinux', 'security.ima'];
    const rules = new LayerRules(defaultLayerLimits);
    const xattrs = new Map([...kept, ...dropped].map((name) => [name, Buffer.from('v')]));
    assert.deepEqual([...(rules.admit({ ...entry(['file', 'a']), xattrs })[0]?.xattrs.keys() ?? [])], kept);
  });

  const refused: { name: string; entries: Short[]; code: string; words: RegExp }[] = [
    {
      name: 'absolute names',
      entries: [['file', '/etc/passwd']],
      code: 'UnsafeLayer',
      words: /absolute name "\/etc\/passwd"/,
    },
    {
      name: 'names that leave the root',
      entries: [['file', 'a/../../b']],
      code: 'UnsafeLayer',
      words: /leaves the root/,
    },
    { name: 'whiteouts that leave the root', entries: [['file', '.wh...']], code: 'UnsafeLayer', words: /whiteout/ },
    { name: 'empty whiteouts', entries: [['file', 'a/.wh.']], code: 'UnsafeLayer', words: /whiteout/ },
    { name: 'entries below whiteouts', entries: [['file', '.wh.a/b']], code: 'UnsafeLayer', words: /below a whiteout/ },
    {
      name: 'entries through a symbolic link',
      entries: [
        ['symlink', 'a', '/etc'],
        ['file', 'a/passwd'],
      ],
      code: 'UnsafeLayer',
      words: /through the symbolic link "a"/,
    },
    {
      name: 'whiteouts through a symbolic link',
      entries: [
        ['symlink', 'a', '/etc'],
        ['file', 'a/.wh.passwd'],
      ],
      code: 'UnsafeLayer',
      words: /through the symbolic link/,
    },
    {
      name: 'a directory that turns into a link',
      entries: [
        ['directory', 'a'],
        ['symlink', 'a', '/'],
      ],
      code: 'ImageCorrupt',
      words: /twice/,
    },
    {
      name: 'a link that turns into a directory',
      entries: [
        ['symlink', 'a', '/'],
        ['directory', 'a'],
      ],
      code: 'ImageCorrupt',
      words: /twice/,
    },
    {
      name: 'entries below a file',
      entries: [
        ['file', 'a'],
        ['file', 'a/b'],
      ],
      code: 'ImageCorrupt',
      words: /not a directory/,
    },
    {
      name: 'hard links that leave the root',
      entries: [['link', 'a', '../../etc/shadow']],
      code: 'UnsafeLayer',
      words: /leaves the root/,
    },
    { name: 'absolute hard links', entries: [['link', 'a', '/etc/shadow']], code: 'UnsafeLayer', words: /absolute/ },
    {
      name: 'hard links to lower layers',
      entries: [['link', 'a', 'b']],
      code: 'ImageCorrupt',
      words: /hard link "a" to "b", which is not in the same layer/,
    },
    {
      name: 'hard links to directories',
      entries: [
        ['directory', 'd'],
        ['link', 'a', 'd'],
      ],
      code: 'UnsafeLayer',
      words: /directory/,
    },
    { name: 'long names', entries: [['file', 'x'.repeat(256)]], code: 'UnsafeLayer', words: /256 bytes/ },
    { name: 'long paths', entries: [['file', 'x/'.repeat(2100)]], code: 'UnsafeLayer', words: /4200 bytes/ },
    { name: 'a root that is a link', entries: [['symlink', '.', '/']], code: 'UnsafeLayer', words: /root/ },
  ];
  for (const { name, entries, code, words } of refused) {
    it(`refuses ${name}`, () => assert.throws(() => rewrite(...entries), { code, message: words }));
  }

  it('refuses more entries than the limit, made-up parents counted', () => {
    const rules = new LayerRules({ ...defaultLayerLimits, entries: 3 });
    assert.throws(() => rules.admit(entry(['file', 'a/b/c/d'])), {
      code: 'UnsafeLayer',
      message: /more than 3 entries/,
    });
  });

  it('never lets a path out of the root or through a link, whatever comes', () => {
    const part = fc.constantFrom('a', 'b', '.', '..', '', '.wh.a', '.wh..wh..opq', '.wh...', '.wh.');
    const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const type = fc.constantFrom<TarType>('file', 'directory', 'symlink', 'link');
    fc.assert(
      fc.property(fc.array(fc.tuple(type, path, path), { maxLength: 8 }), (entries) => {
        const rules = new LayerRules(defaultLayerLimits);
        const links = new Set<string>();
        const check = (made: TarEntry) => {
          assert.ok(!made.path.startsWith('/') && !made.path.split('/').includes('..'), made.path);
          const parts = made.path.split('/');
          for (let i = 1; i < parts.length; i++) assert.ok(!links.has(parts.slice(0, i).join('/')), made.path);
          if (made.type === 'link') assert.ok(!made.target.startsWith('/') && !made.target.split('/').includes('..'));
          if (made.type === 'symlink') links.add(made.path);
        };
        for (const short of entries) {
          try {
            rules.admit(entry(short)).forEach(check);
          } catch (error) {
            assert.ok(error instanceof EbbError, String(error));
          }
        }
        rules.finish().forEach(check);
      }),
    );
  });
});
