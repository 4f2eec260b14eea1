import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../platform/errors.ts';
import { encodeTarHeader, padding, readTar, tarEnd, type TarEntry } from './tar.ts';

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(bytes: Buffer, chunk = 4096): Promise<{ entry: TarEntry; data: Buffer }[]> {
  const found = [];
  for await (const { entry, body } of readTar(cut(bytes, chunk))) {
    const parts: Buffer[] = [];
    for await (const part of body) parts.push(part);
    found.push({ entry, data: Buffer.concat(parts) });
  }
  return found;
}

function write(entries: { entry: TarEntry; data: Buffer }[]): Buffer {
  const parts = entries.flatMap(({ entry, data }) => [encodeTarHeader(entry), data, padding(data.length)]);
  return Buffer.concat([...parts, tarEnd()]);
}

const bytesName = (maxLength: number) =>
  fc
    .uint8Array({ minLength: 1, maxLength })
    .map((bytes) => Buffer.from(bytes.map((b) => (b === 0 || b === 0x2f ? 0x61 : b))).toString('latin1'));

const anyEntry: fc.Arbitrary<{ entry: TarEntry; data: Buffer }> = fc
  .record({
    path: bytesName(300),
    type: fc.constantFrom(
      'file' as const,
      'symlink' as const,
      'directory' as const,
      'fifo' as const,
      'character' as const,
    ),
    mode: fc.nat(0o7777),
    uid: fc.nat(0xffff_fffe),
    gid: fc.nat(0xffff_fffe),
    mtime: fc.oneof(fc.integer().map(String), fc.constantFrom('-12.5', '1.000000001', '99999999999')),
    target: bytesName(300),
    device: fc.record({ major: fc.nat(4095), minor: fc.nat(1_048_575) }),
    xattrs: fc
      .dictionary(fc.constantFrom('user.a', 'security.capability', 'trusted.x'), fc.uint8Array({ maxLength: 200 }))
      .map((all) => new Map(Object.entries(all).map(([name, value]) => [name, Buffer.from(value)]))),
    data: fc.uint8Array({ maxLength: 1500 }).map((data) => Buffer.from(data)),
  })
  .map(({ data, ...fields }) => {
    const isDevice = fields.type === 'character';
    const isFile = fields.type === 'file';
    const entry: TarEntry = {
      ...fields,
      size: isFile ? data.length : 0,
      target: fields.type === 'symlink' ? fields.target : '',
      device: isDevice ? { ...fields.device } : { major: 0, minor: 0 },
    };
    return { entry, data: isFile ? data : Buffer.alloc(0) };
  });

describe('tar', () => {
  it('reads back exactly what it writes, cut anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEntry, { maxLength: 6 }),
        fc.integer({ min: 1, max: 2000 }),
        async (entries, chunk) => {
          const back = await read(write(entries), chunk);
          const names = back.map(({ entry, data }) => ({
            entry: { ...entry, path: entry.path.replace(/\/$/, '') },
            data,
          }));
          assert.deepEqual(names, entries);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('answers any damage with an entry list or an EbbError, and no other error', async () => {
    const good = write([
      {
        entry: { ...file('a'.repeat(150), 700), xattrs: new Map([['user.k', Buffer.from('v')]]) },
        data: Buffer.alloc(700, 1),
      },
      { entry: file('b', 3), data: Buffer.from('abc') },
    ]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(good.length),
        async (flips, end) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of flips) bytes[at] = value;
          try {
            await read(bytes.subarray(0, end));
          } catch (error) {
            assert.ok(error instanceof EbbError, String(error));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reads what GNU tar writes in its old formats', async () => {
    for (const format of ['v7', 'ustar', 'gnu', 'oldgnu', 'posix']) {
      const args = ['-c', '-f', '-', `--format=${format}`, '--mtime=@1', '-C', import.meta.dirname, 'README.md'];
      const [first] = await read(execFileSync('tar', args));
      assert.equal(first?.entry.path, 'README.md');
      assert.match(first?.data.toString() ?? '', /^# images/);
    }
  });

  it('refuses sparse files, unknown types and impossible owners', async () => {
    const typed = (flag: string) => {
      const head = encodeTarHeader(file('x', 0));
      head.write(flag, 156, 'latin1');
      return Buffer.concat([checksummed(head), tarEnd()]);
    };
    await assert.rejects(read(typed('S')), { code: 'UnsafeLayer', message: /"x" is a sparse file/ });
    await assert.rejects(read(typed('M')), { code: 'UnsafeLayer' });
    await assert.rejects(read(write([{ entry: { ...file('x', 0), uid: 0xffff_ffff }, data: Buffer.alloc(0) }])), {
      code: 'ImageCorrupt',
    });
  });
});

function file(path: string, size: number): TarEntry {
  const numbers = { mode: 0o644, uid: 0, gid: 0, mtime: '0', device: { major: 0, minor: 0 } };
  return { path, type: 'file', size, target: '', xattrs: new Map(), ...numbers };
}

function checksummed(head: Buffer): Buffer {
  head.fill(0x20, 148, 156);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return head;
}
