import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { openContentStore, type DiskContentStore } from './content.ts';
import { digestOf } from './digest.ts';
import { writeImage } from './write.ts';

let dir: string;
let content: DiskContentStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ebb-content-'));
  content = await openContentStore(dir);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('content store', () => {
  it('keeps what was put, from bytes and from a stream', async () => {
    const stored = await content.put(Buffer.from('hello'));
    assert.deepEqual(stored, { digest: digestOf('hello'), size: 5 });
    assert.equal((await content.read(stored.digest)).toString(), 'hello');
    const streamed = await content.put(Readable.from([Buffer.from('a'), Buffer.from('b')]));
    assert.equal(streamed.digest, digestOf('ab'));
    assert.equal(Buffer.concat(await (await content.stream(streamed.digest)).toArray()).toString(), 'ab');
  });

  it('refuses content with another digest or size and leaves nothing', async () => {
    const wrong = { code: 'DigestMismatch' };
    await assert.rejects(content.put(Buffer.from('x'), { digest: digestOf('y') }), wrong);
    await assert.rejects(content.put(Buffer.from('x'), { size: 2 }), wrong);
    await assert.rejects(content.put(Readable.from([Buffer.from('xy')]), { size: 1 }), wrong);
    await assert.rejects(content.put(Readable.from([Buffer.from('y')]), { digest: digestOf('x'), size: 1 }), wrong);
    assert.deepEqual(await readdir(join(dir, 'ingest')), []);
    assert.equal(await content.has(digestOf('x')), false);
  });

  it('writes one digest once for concurrent writers, and the second takes over when the first fails', async () => {
    const digest = digestOf('ok');
    const broken = new Readable({ read() {} });
    const first = content.put(broken, { digest });
    const second = content.put(Readable.from([Buffer.from('ok')]), { digest });
    const unread = new Readable({ read: () => assert.fail('a third copy was read') });
    const third = content.put(unread, { digest });
    broken.destroy(new Error('cut'));
    await assert.rejects(first, /cut/);
    assert.deepEqual(await second, { digest, size: 2 });
    assert.deepEqual(await third, { digest, size: 2 });
    assert.ok(unread.destroyed);
  });

  it('removes what a crashed writer left', async () => {
    await writeFile(join(dir, 'ingest', 'half'), 'x');
    content = await openContentStore(dir);
    assert.deepEqual(await readdir(join(dir, 'ingest')), []);
  });

  it('names blobs, durably, and only those that are here', async () => {
    const { digest, size } = await content.put(Buffer.from('{}'));
    const manifest = { mediaType: 'm', digest, size };
    await content.tag('ebb.local/a:1', manifest);
    await content.tag('ebb.local/b:1', manifest);
    await content.untag('ebb.local/b:1');
    content = await openContentStore(dir);
    assert.deepEqual(await content.names(), [{ name: 'ebb.local/a:1', manifest }]);
    assert.deepEqual(await content.resolve('ebb.local/a:1'), manifest);
    assert.equal(await content.resolve('ebb.local/b:1'), undefined);
    await assert.rejects(content.tag('x', { ...manifest, digest: digestOf('absent') }), { code: 'BlobNotFound' });
    await assert.rejects(content.tag('x'.repeat(600), manifest), { code: 'InvalidReference' });
  });

  it('notices a small blob that the disk has changed, and paths that are no digest', async () => {
    const { digest } = await content.put(Buffer.from('hello'));
    await writeFile(content.path(digest), 'jello');
    await assert.rejects(content.read(digest), { code: 'DigestMismatch' });
    await assert.rejects(content.has('sha256:../../etc/passwd'), { code: 'InvalidDigest' });
    await assert.rejects(content.read(digestOf('absent')), { code: 'BlobNotFound' });
  });

  it('deletes a blob only when nobody has used it since', async () => {
    const { digest } = await content.put(Buffer.from('hello'));
    assert.equal(await content.delete(digest, Date.now() - 60_000), 0);
    assert.equal(await content.delete(digest, Date.now() + 60_000), 5);
    assert.equal(await content.delete(digest, Date.now() + 60_000), 0);
    assert.equal(await content.has(digest), false);
  });
});

describe('writeImage', () => {
  it('publishes the same input as the same image', async () => {
    const layer = await content.put(Buffer.from('tar'));
    const image = {
      layers: [{ descriptor: { mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }, diffId: layer.digest }],
      config: { os: 'linux', architecture: 'amd64', config: { Cmd: ['/app'] } },
      name: 'ebb.local/app:1',
    };
    const a = await writeImage(content, image);
    const b = await writeImage(content, image);
    assert.deepEqual(a, b);
    assert.equal(a.reference, `ebb.local/app@${a.digest}`);
    assert.equal((await content.resolve('ebb.local/app:1'))?.digest, a.digest);
    const missing = { ...layer, mediaType: 'm', digest: digestOf('absent') };
    await assert.rejects(writeImage(content, { ...image, layers: [{ descriptor: missing, diffId: missing.digest }] }), {
      code: 'BlobNotFound',
    });
  });
});
