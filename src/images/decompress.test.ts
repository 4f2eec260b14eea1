import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { decompress } from './decompress.ts';

async function inflate(bytes: Buffer, cuts: number[] = []): Promise<Buffer> {
  const edges = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const chunks = edges.slice(1).map((edge, i) => bytes.subarray(edges[i], edge));
  return Buffer.concat(await all(decompress(Readable.from(chunks.filter((c) => c.length > 0)))));
}

async function all(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const found = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}

const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);

describe('decompress', () => {
  it('gives back gzip, zstd and plain bytes, in any number of members, cut anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('none', 'gzip', 'zstd', 'skippable'),
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (kind, parts, cuts) => {
          const plain = parts.map((part) => Buffer.concat([Buffer.from('plain'), part, Buffer.alloc(500)]));
          const packed = plain.map((part) =>
            kind === 'gzip'
              ? gzipSync(part)
              : kind === 'zstd'
                ? zstdCompressSync(part)
                : kind === 'skippable'
                  ? Buffer.concat([skippable, zstdCompressSync(part), skippable])
                  : part,
          );
          assert.deepEqual(await inflate(Buffer.concat(packed), cuts), Buffer.concat(plain));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('refuses what is cut short or followed by something else', async () => {
    const plain = Buffer.from('some text that is long enough to be worth it');
    for (const packed of [gzipSync(plain), zstdCompressSync(plain)]) {
      for (let length = 4; length < packed.length; length += 5) {
        await assert.rejects(inflate(packed.subarray(0, length)), { code: 'ImageCorrupt' });
      }
    }
    await assert.rejects(inflate(Buffer.concat([zstdCompressSync(plain), Buffer.from('garbage garbage')])), {
      code: 'ImageCorrupt',
    });
  });

  it('passes the error of its source on', async () => {
    const source = async function* () {
      yield gzipSync(Buffer.alloc(1000)).subarray(0, 12);
      throw new Error('cut');
    };
    await assert.rejects(all(decompress(Readable.from(source()))), /cut/);
  });
});
