import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, run, startEbb, type TestEbb } from './support/ebb.ts';

const missing = (await run('sh', ['-c', 'command -v buildah && command -v skopeo && command -v gcc'])).code !== 0;

describe('images from elsewhere', { skip: missing && 'buildah, skopeo or gcc is not installed' }, () => {
  let ebb: TestEbb;
  const work = mkdtempSync(join(tmpdir(), 'ebb-images-'));
  const layoutDir = join(work, 'oci');
  before(async () => {
    ebb = await startEbb();
    await buildWithBuildah();
  });
  after(async () => {
    await ebb[Symbol.asyncDispose]();
    rmSync(work, { recursive: true, force: true });
  });

  /** A static server on nothing at all, built and exported by buildah alone. */
  async function buildWithBuildah(): Promise<void> {
    await must('gcc', ['-O2', '-static', '-o', join(work, 'hello'), join(root, 'bench/apps/static-hello/hello.c')]);
    writeFileSync(join(work, 'Dockerfile'), 'FROM scratch\nCOPY hello /hello\nUSER 1234\nCMD ["/hello"]\n');
    const storage = ['--root', join(work, 'storage'), '--runroot', join(work, 'runroot'), '--storage-driver', 'vfs'];
    await must('buildah', [...storage, 'bud', '--isolation', 'chroot', '-t', 'hello:1', work]);
    await must('buildah', [...storage, 'push', 'hello:1', `oci:${layoutDir}:one`]);
    await must('buildah', [...storage, 'rmi', '--all']);
  }

  async function must(command: string, args: string[]): Promise<void> {
    const result = await run(command, args);
    assert.equal(result.code, 0, `${command}: ${result.stderr}`);
  }

  const answers = async (name: string) => {
    const answer = await ebb.request(`${name}.default.localhost`);
    assert.equal(answer.status, 200);
    assert.equal(answer.body, 'hello\n');
  };

  /** A copy of the layout with one of its blobs changed; the blob's name follows if `rename` says so. */
  function altered(
    name: string,
    pick: (blob: Buffer) => boolean,
    change: (blob: Buffer) => Buffer,
    rename: boolean,
  ): string {
    const dir = join(work, name);
    cpSync(layoutDir, dir, { recursive: true });
    const blobs = join(dir, 'blobs/sha256');
    const replace = (digest: string, content: Buffer): void => {
      const now = rename ? createHash('sha256').update(content).digest('hex') : digest;
      rmSync(join(blobs, digest));
      writeFileSync(join(blobs, now), content);
      if (now === digest) return;
      for (const other of [...readdirSync(blobs).map((b) => join(blobs, b)), join(dir, 'index.json')]) {
        const before = readFileSync(other);
        if (!before.includes(digest)) continue;
        const after = Buffer.from(before.toString().replaceAll(digest, now));
        if (other.endsWith('index.json')) writeFileSync(other, after);
        else replace(other.split('/').at(-1) ?? '', after);
      }
    };
    const digest = readdirSync(blobs).find((b) => pick(readFileSync(join(blobs, b)))) ?? '';
    replace(digest, change(readFileSync(join(blobs, digest))));
    if (rename) fixSizes(dir, blobs);
    return dir;
  }

  /** Descriptors name sizes too: those of changed blobs are set right, from the manifest up. */
  function fixSizes(dir: string, blobs: string): void {
    const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as {
      manifests: { digest: string; size: number }[];
    };
    for (const manifest of index.manifests) manifest.size = statSync(join(blobs, manifest.digest.slice(7))).size;
    writeFileSync(join(dir, 'index.json'), JSON.stringify(index));
  }

  // First: a layer that is here already is not read again.
  it('with a corrupt layer: refused, and nothing of it kept', async () => {
    const isLayer = (blob: Buffer) => blob[0] === 0x1f || blob.length > 100_000;
    const flip = (blob: Buffer) => {
      const bad = Buffer.from(blob);
      bad[bad.length >> 1] = (bad[bad.length >> 1] ?? 0) ^ 0xff;
      return bad;
    };
    const corrupt = altered('corrupt', isLayer, flip, false);
    const result = await ebb.cli('deploy', '--image', `oci:${corrupt}:one`, '--name', 'corrupt');
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /sha256|digest/);
    assert.doesNotMatch(await ebb.ok('services'), /corrupt/);
  });

  it('oci:DIR:TAG as buildah wrote it', async () => {
    await ebb.ok('deploy', '--image', `oci:${layoutDir}:one`, '--name', 'layout');
    await answers('layout');
  });

  it('oci-archive and docker-archive as skopeo wrote them', async () => {
    for (const format of ['oci-archive', 'docker-archive']) {
      const file = join(work, `${format}.tar`);
      await must('skopeo', ['--insecure-policy', 'copy', `oci:${layoutDir}:one`, `${format}:${file}:hello:1`]);
      await ebb.ok('deploy', '--image', `${format}:${file}`, '--name', format);
      await answers(format);
    }
  });

  it('for another architecture: refused, naming both', async () => {
    const isConfig = (blob: Buffer) => blob.includes('"architecture"');
    const foreign = altered('foreign', isConfig, (b) => Buffer.from(b.toString().replace('"amd64"', '"s390x"')), true);
    const result = await ebb.cli('deploy', '--image', `oci:${foreign}:one`, '--name', 'foreign');
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /s390x/);
  });

  it('that is nowhere: the revision says so, with the address that was asked', async () => {
    const result = await ebb.cli('deploy', '--image', '127.0.0.1:9/no/such:1', '--name', 'nowhere', '--timeout', '20s');
    assert.equal(result.code, 5, result.stderr);
    assert.match(result.stdout + result.stderr, /127\.0\.0\.1:9/);
    const missingFile = await ebb.cli('deploy', '--image', `oci:${join(work, 'not-there')}`, '--name', 'nowhere');
    assert.notEqual(missingFile.code, 0);
    assert.match(missingFile.stderr, /not-there/);
  });

  it('a manifest with an unknown field is refused, naming field and path', async () => {
    const file = join(work, 'typo.yaml');
    writeFileSync(
      file,
      JSON.stringify({
        apiVersion: 'serving.knative.dev/v1',
        kind: 'Service',
        metadata: { name: 'typo' },
        spec: { template: { spec: { containers: [{ image: 'a/b', comand: ['x'] }] } } },
      }),
    );
    const result = await ebb.cli('deploy', '-f', file);
    assert.notEqual(result.code, 0);
    assert.match(
      result.stderr,
      /spec\.template\.spec\.containers\[0\].*comand|comand.*spec\.template\.spec\.containers\[0\]/s,
    );
  });

  it('a name that is taken: deploying again is a new revision of the same service, creating it is refused', async () => {
    await ebb.ok('deploy', '--image', `oci:${layoutDir}:one`, '--name', 'layout', '--env', 'A=1');
    const revisions = await ebb.json<{ items: unknown[] }>('revisions', 'layout');
    assert.equal(revisions.items.length, 2);
    await answers('layout');
  });

  it('a source folder that nothing recognises gets a list of what would be', async () => {
    const empty = join(work, 'unknown');
    mkdirSync(empty);
    writeFileSync(join(empty, 'notes.txt'), 'x');
    const result = await ebb.cli('deploy', empty);
    assert.notEqual(result.code, 0);
    for (const word of ['package.json', 'index.html', 'Procfile', 'main.py'])
      assert.match(result.stderr, new RegExp(word));
  });
});
