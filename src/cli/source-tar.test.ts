import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { imageSource } from './image-source.ts';
import { sourceTar } from './source-tar.ts';

interface Entry {
  type: string;
  mode: number;
  link: string | null;
  content: Buffer;
}

describe('sourceTar', () => {
  let folder: string;
  let warnings: string[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ebb-cli-tar-'));
    warnings = [];
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const write = (path: string, content: string | Buffer = path) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  };
  const tar = async () =>
    buffer(await sourceTar(folder, { warn: (message) => warnings.push(message), bigFileBytes: 10_000 }));
  const entries = async () => read(await tar());

  it('holds files, folders and links as they are', async () => {
    write('server.js');
    write('bin/tool');
    chmodSync(join(folder, 'bin/tool'), 0o700);
    symlinkSync('../server.js', join(folder, 'bin/link'));
    mkdirSync(join(folder, 'empty'));
    const found = await entries();
    assert.deepEqual([...found.keys()], ['bin', 'bin/link', 'bin/tool', 'empty', 'server.js']);
    assert.equal(found.get('bin/link')!.link, '../server.js');
    assert.deepEqual([found.get('bin/tool')!.mode, found.get('server.js')!.mode], [0o755, 0o644]);
    assert.equal(found.get('server.js')!.content.toString(), 'server.js');
  });

  it('gives the same bytes for the same folder, whenever and in whatever order it was written', async () => {
    const name = fc.constantFrom('a', 'b', 'B', 'a-1', 'ä', 'sub/x', 'sub/y', `${'long'.repeat(30)}/deep`);
    const content = fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(name, content), { minLength: 1, selector: ([n]) => n }),
        async (files) => {
          const digests: string[] = [];
          for (const order of [files, files.toReversed()]) {
            rmSync(folder, { recursive: true, force: true });
            for (const [path, bytes] of order) {
              write(path, bytes);
              utimesSync(join(folder, path), Math.random() * 1e9, Math.random() * 1e9);
            }
            const bytes = await tar();
            digests.push(createHash('sha256').update(bytes).digest('hex'));
            const found = await read(bytes);
            for (const [path, wanted] of order) assert.deepEqual(found.get(path)!.content, wanted);
          }
          assert.equal(digests[0], digests[1]);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('leaves .git at home, and node_modules only where a lockfile stands beside', async () => {
    for (const path of ['.git/HEAD', 'package-lock.json', 'node_modules/a', 'kept/node_modules/b']) write(path);
    write('sub/package-lock.json');
    write('sub/node_modules/c');
    const found = [...(await entries()).keys()].filter((path) => !/^(kept|sub)$/.test(path));
    assert.deepEqual(found, ['kept/node_modules', 'kept/node_modules/b', 'package-lock.json', 'sub/package-lock.json']);
  });

  it('leaves out what an ignore file names plainly, unless something is taken back in', async () => {
    for (const path of ['data/big', 'app.js', 'Dockerfile', '.ebbignore']) write(path);
    write('.ebbignore', '/data/\n# app.js\n*.js\nDockerfile\n');
    assert.deepEqual([...(await entries()).keys()], ['.ebbignore', 'Dockerfile', 'app.js']);
    write('.ebbignore', 'data\n!data/big\n');
    assert.ok((await entries()).has('data/big'));
  });

  it('warns of big files and leaves out what is neither file, folder nor link', async () => {
    write('big', Buffer.alloc(20_000));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    assert.deepEqual([...(await entries()).keys()], ['big']);
    assert.match(warnings.join('\n'), /big has 0 MB[\s\S]*pipe is neither/);
  });

  it('fails with a sentence: no folder, a file, nothing in it, nothing left of it', async () => {
    const options = { warn: () => undefined };
    await assert.rejects(sourceTar(join(folder, 'no'), options), {
      code: 'SourceNotFound',
      message: /there is no folder/,
    });
    await assert.rejects(sourceTar(folder, options), { code: 'SourceEmpty' });
    write('.git/HEAD');
    await assert.rejects(sourceTar(folder, options), { code: 'SourceEmpty' });
    write('file');
    await assert.rejects(sourceTar(join(folder, 'file'), options), { code: 'SourceNotADirectory' });
  });

  it('fails when a file becomes shorter or goes while it is read', async () => {
    write('a', Buffer.alloc(4_000_000));
    write('b', Buffer.alloc(4_000_000));
    const shorter = await sourceTar(folder, { warn: () => undefined });
    shorter.once('data', () => truncateSync(join(folder, 'a'), 70_000));
    await assert.rejects(buffer(shorter), { code: 'SourceChanged', message: /^a became shorter/ });
    const gone = await sourceTar(folder, { warn: () => undefined });
    gone.once('data', () => rmSync(join(folder, 'b'), { force: true }));
    await assert.rejects(buffer(gone), { code: 'SourceUnreadable', message: /cannot read b: it has just gone/ });
  });

  it('stops reading when the receiver goes', async () => {
    write('a', Buffer.alloc(4_000_000));
    const stream = await sourceTar(folder, { warn: () => undefined });
    await new Promise<void>((resolve) => stream.once('data', () => resolve()));
    stream.destroy();
    assert.ok(existsSync(join(folder, 'a')));
  });
});

describe('imageSource', () => {
  it('tells references from files, folders and their tags', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ebb-cli-image-'));
    const warn = () => undefined;
    try {
      writeFileSync(join(folder, 'x.tar'), '');
      mkdirSync(join(folder, 'layout:odd'));
      writeFileSync(join(folder, 'layout:odd', 'index.json'), '{}');
      const of = (text: string) => {
        const source = imageSource(text, folder, warn);
        return source.from === 'registry' ? source.reference : `${source.format} ${source.name} ${source.tag}`;
      };
      assert.equal(of('ghcr.io/a/b:1'), 'ghcr.io/a/b:1');
      assert.equal(of('oci-archive:x.tar'), 'oci-archive x.tar undefined');
      assert.equal(of('docker-archive:x.tar:v1'), 'docker-archive x.tar v1');
      assert.equal(of('oci:layout:odd'), 'oci-archive layout:odd undefined');
      assert.equal(of('oci:layout:odd:v2'), 'oci-archive layout:odd v2');
      assert.throws(() => of('oci:x.tar'), /is a file: use oci-archive/);
      assert.throws(() => of('oci-archive:layout:odd'), /is a folder: use oci:/);
      assert.throws(() => of('oci:.'), /no OCI image layout/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

async function read(bytes: Buffer): Promise<Map<string, Entry>> {
  const found = new Map<string, Entry>();
  const stream = extract();
  stream.end(bytes);
  for await (const entry of stream) {
    const { name, type, mode, linkname } = entry.header;
    found.set(name.replace(/\/$/, ''), {
      type: String(type),
      mode: mode ?? 0,
      link: linkname ?? null,
      content: await buffer(entry as AsyncIterable<Buffer>),
    });
  }
  return found;
}
