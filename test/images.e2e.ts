import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../src/images/digest.ts';
import { startFakeRegistry } from '../src/images/fake-registry.ts';
import type { ImageStore, LocalImage } from '../src/images/images.ts';
import { openImageStore, type ImageStoreOptions } from '../src/images/store.ts';
import { FakeClock, systemClock } from '../src/platform/clock.ts';
import { silentLogger } from '../src/platform/logger.ts';
import { systemSpawner } from '../src/platform/spawn.ts';

// buildah, skopeo and Debian's docker-registry are the oracles: what they make of an image is what Ebb must make of it.
const tools = ['buildah', 'skopeo', 'docker-registry', 'tar', 'getfattr', 'setfattr', 'setcap', 'mount', 'zstd'];
const missing = tools.filter((tool) => !found(tool));
const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : missing.length > 0
      ? `needs ${missing.join(', ')}: apt-get install buildah skopeo docker-registry attr libcap2-bin zstd`
      : false;

describe('images on the real tools', { skip }, () => {
  let dir: string;
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  const mounted: string[] = [];
  const b = (...args: string[]) => {
    const roots = ['--root', join(dir, 'buildah'), '--runroot', join(dir, 'buildah-run'), '--storage-driver', 'vfs'];
    return sh('buildah', ...roots, ...args);
  };

  before(async () => {
    // Below /var/tmp, as overlayfs does not stack on every kind of /tmp.
    dir = await mkdtemp('/var/tmp/ebb-images-e2e-');
    registry = await startRegistry(dir);
    await makeLayers(dir);
    await makeLayout(dir, 'v1', ['gzip', 'zstd', 'none', 'gzip']);
    await makeLayout(dir, 'gz', ['gzip', 'gzip', 'gzip', 'gzip']);
  });

  after(async () => {
    for (const path of mounted) sh('umount', path);
    b('umount', '--all');
    b('rm', '--all');
    await registry[Symbol.asyncDispose]();
    await rm(dir, { recursive: true, force: true });
  });

  const open = (options: Partial<ImageStoreOptions> = {}, name = `store-${Math.random().toString(36).slice(2)}`) =>
    openImageStore({
      dir: join(dir, name),
      logger: silentLogger,
      spawner: systemSpawner,
      clock: systemClock,
      dockerConfigPath: join(dir, 'no-docker-config.json'),
      ...options,
    });

  /** What an overlay mount of an image's layers shows. */
  const view = async (image: LocalImage) => {
    const at = join(dir, `merged-${mounted.length}`);
    const empty = join(dir, 'empty');
    await mkdir(at);
    await mkdir(empty, { recursive: true });
    // overlayfs without an upper directory wants two lower ones at least.
    const lower = [...image.layerDirs.toReversed(), empty].join(':');
    sh('mount', '-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${lower}`, at);
    mounted.push(at);
    return listing(at);
  };

  /** What buildah shows of the same image. */
  const truth = (reference: string) => {
    const container = b('from', '--pull-always', '--tls-verify=false', reference).trim().split('\n').at(-1) ?? '';
    return listing(b('mount', container).trim());
  };

  it('shows a pulled image exactly as buildah does, gzip and zstd', async () => {
    sh(
      'skopeo',
      'copy',
      '-q',
      '--dest-tls-verify=false',
      `oci:${dir}/v1:v1`,
      `docker://${registry.host}/made/by-hand:v1`,
    );
    await using store = await open();
    const image = await store.ensure(`${registry.host}/made/by-hand:v1`);
    assert.equal(image.layerDirs.length, 4);
    const expected = truth(`docker://${registry.host}/made/by-hand:v1`);
    assert.ok(expected.includes('caps security.capability'), 'the oracle lost what is to be compared');
    assert.equal(await view(image), expected);
    assert.ok(!expected.includes('/hidden'));
  });

  it('runs through every transport and format that skopeo writes', async () => {
    const from = `oci:${dir}/gz:gz`;
    await using store = await open();
    const original = await store.importArchive(tarOf(join(dir, 'v1')), {
      format: 'oci-archive',
      tag: 'v1',
      name: 'ebb.local/a:1',
    });
    const expected = await view(original);
    sh('skopeo', 'copy', '-q', from, `oci-archive:${dir}/a.oci.tar:v1`);
    sh('skopeo', 'copy', '-q', from, `docker-archive:${dir}/a.docker.tar:some/name:v1`);
    sh('gzip', '-k', `${dir}/a.docker.tar`);
    const cases = [
      { file: 'a.oci.tar', format: 'oci-archive' as const, tag: 'v1' },
      { file: 'a.oci.tar', format: 'oci-archive' as const },
      { file: 'a.docker.tar', format: 'docker-archive' as const, tag: 'v1' },
      { file: 'a.docker.tar.gz', format: 'docker-archive' as const },
    ];
    for (const [i, { file, ...options }] of cases.entries()) {
      const image = await store.importArchive(createReadStream(join(dir, file)), {
        ...options,
        name: `ebb.local/b:${i}`,
      });
      assert.deepEqual(image.layerDirs, original.layerDirs, 'layers are shared by all images that have them');
      assert.equal((await store.ensure(`ebb.local/b:${i}`)).resolved, image.resolved);
    }
    // A registry of its own: in one that has the zstd layers, skopeo would take those and then refuse them.
    await using other = await startRegistry(join(dir, 'other'));
    const docker = `docker://${other.host}/made/v2s2:1`;
    sh('skopeo', 'copy', '-q', '--dest-tls-verify=false', '--format', 'v2s2', from, docker);
    assert.equal(await view(await store.ensure(`${other.host}/made/v2s2:1`)), expected);
    const wrong = { format: 'oci-archive' as const, tag: 'v9', name: 'ebb.local/c:1' };
    await assert.rejects(store.importArchive(createReadStream(join(dir, 'a.oci.tar')), wrong), {
      code: 'ImageNotFound',
      message: /v1/,
    });
    const cut = Readable.from([(await readFile(join(dir, 'a.oci.tar'))).subarray(0, 5000)]);
    await assert.rejects(store.importArchive(cut, { format: 'oci-archive', name: 'ebb.local/c:1' }), {
      code: 'ImageCorrupt',
    });
  });

  it('runs an image that buildah built and pushed', async () => {
    const container = b('from', 'scratch').trim();
    const root = b('mount', container).trim();
    sh('cp', '-a', `${dir}/files1/.`, root);
    b('umount', container);
    b('commit', '-q', container, 'one');
    const second = b('from', 'one').trim();
    const upper = b('mount', second).trim();
    sh('rm', '-r', join(upper, 'dir'), join(upper, 'setuid'));
    sh('mkdir', join(upper, 'dir'));
    await writeFile(join(upper, 'dir/new'), 'new');
    b('umount', second);
    b('config', '--env', 'A=b', '--cmd', '/x', '--user', '7', second);
    b('commit', '-q', second, 'two');
    b('push', '-q', '--tls-verify=false', 'two', `docker://${registry.host}/built:two`);
    await using store = await open();
    const image = await store.ensure(`${registry.host}/built:two`);
    assert.equal(await view(image), truth(`docker://${registry.host}/built:two`));
    assert.deepEqual(image.config.config?.Cmd, ['/x']);
    assert.equal(image.config.config?.User, '7');
    assert.ok(image.config.config?.Env?.includes('A=b'));
  });

  it('logs in where the registry wants it, and goes on where a connection broke', async () => {
    const htpasswd = join(dir, 'htpasswd');
    await writeFile(htpasswd, `me:${secretHash}\n`);
    await using closed = await startRegistry(join(dir, 'closed'), `auth: {htpasswd: {realm: ebb, path: ${htpasswd}}}`);
    const to = `docker://${closed.host}/private:1`;
    sh('skopeo', 'copy', '-q', '--dest-tls-verify=false', '--dest-creds', 'me:secret', `oci:${dir}/gz:gz`, to);
    await using stranger = await open();
    const refused = { code: 'RegistryUnauthorized', message: /docker login localhost/ };
    await assert.rejects(stranger.ensure(`${closed.host}/private:1`), refused);
    const dockerConfigPath = join(dir, 'docker-config.json');
    const auth = Buffer.from('me:secret').toString('base64');
    await writeFile(dockerConfigPath, JSON.stringify({ auths: { [closed.host]: { auth } } }));
    await using friend = await open({ dockerConfigPath });
    const image = await friend.ensure(`${closed.host}/private:1`);

    await using fake = await startFakeRegistry();
    const big = layer({ 'big.txt': randomBytes(60_000).toString('hex') });
    const blob = `/v2/big/blobs/${digestOf(big.bytes)}`;
    fake.push('big:1', [big]);
    fake.intercept = (request, response) => {
      if (request.url !== blob || request.headers.range !== undefined) return false;
      response.writeHead(200, { 'content-length': big.bytes.length });
      response.write(big.bytes.subarray(0, 30_000), () => response.destroy());
      return true;
    };
    const resumed = await friend.ensure(`${fake.host}/big:1`);
    assert.ok(fake.requests.filter((line) => line.endsWith(blob)).length >= 2);
    assert.equal((await friend.ensure(resumed.resolved, { policy: 'Never' })).resolved, resumed.resolved);
    assert.equal(image.layerDirs.length, 4);
  });

  it('asks the registry only when the policy says so, and shares concurrent pulls', async () => {
    await using fake = await startFakeRegistry();
    await using store = await open();
    const one = layer({ 'a.txt': 'one' });
    fake.push('app:1', [one]);
    const name = `${fake.host}/app:1`;
    await assert.rejects(store.ensure(name, { policy: 'Never' }), { code: 'ImageNotFound' });
    assert.equal(fake.requests.length, 0);
    fake.push('other:1', [one, layer({ 'b.txt': 'two' })]);
    const [first] = await Promise.all([store.ensure(name), store.ensure(name), store.ensure(`${fake.host}/other:1`)]);
    assert.equal(fake.requests.filter((line) => line.endsWith(`/blobs/${digestOf(one.bytes)}`)).length, 1);
    assert.equal(fake.requests.filter((line) => line.endsWith('app/manifests/1')).length, 1);
    const asked = fake.requests.length;
    await store.ensure(name);
    await store.ensure(first.resolved, { policy: 'Always' });
    assert.equal(fake.requests.length, asked, 'what is here needs no network');
    fake.push('app:1', [layer({ 'a.txt': 'newer' })]);
    assert.equal((await store.ensure(name)).resolved, first.resolved);
    assert.notEqual((await store.ensure(name, { policy: 'Always' })).resolved, first.resolved);
  });

  it('refuses what is damaged, for another machine, missing or dangerous, and leaves nothing', async () => {
    await using fake = await startFakeRegistry();
    await using store = await open({ limits: { layer: { bytes: 300 * 1024 * 1024 } } }, 'refusing');
    const good = layer({ 'a.txt': 'x'.repeat(1000) });
    const refused = async (name: string, expected: { code: string; message?: RegExp }) => {
      await assert.rejects(store.ensure(`${fake.host}/${name}`), expected);
      assert.deepEqual(
        (await readdir(join(dir, 'refusing', 'layers'))).filter((f) => f.startsWith('tmp-')),
        [],
      );
      assert.deepEqual(await readdir(join(dir, 'refusing', 'content', 'ingest')), []);
    };
    fake.push('corrupt:1', [good]);
    fake.blobs.set(digestOf(good.bytes), Buffer.from(good.bytes).fill(0, 30, 40));
    await refused('corrupt:1', { code: 'ImageCorrupt', message: /arrives damaged/ });
    fake.blobs.set(digestOf(good.bytes), good.bytes);
    fake.push('diffid:1', [{ bytes: good.bytes, diffId: digestOf('other') }]);
    await refused('diffid:1', { code: 'ImageCorrupt', message: /has the digest/ });
    fake.push('arch:1', [good], { architecture: 's390x' });
    await refused('arch:1', { code: 'ImageWrongPlatform', message: /^image "127.*\/arch:1": .*linux\/s390x$/ });
    const platforms = ['s390x', 'riscv64'].map((architecture) => ({
      ...fake.push('x:1', [good]),
      platform: { os: 'linux', architecture },
    }));
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    fake.manifests.set('index:1', {
      mediaType,
      bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: platforms })),
    });
    await refused('index:1', { code: 'ImageWrongPlatform', message: /linux\/s390x, linux\/riscv64/ });
    await refused('arch:2', { code: 'ImageNotFound', message: /pushed tags are 1$/ });
    const bomb = { bytes: gzipSync(Buffer.alloc(80 * 1024 * 1024)), diffId: digestOf('bomb') };
    fake.push('bomb:1', [bomb]);
    await refused('bomb:1', { code: 'UnsafeLayer', message: /decompression bomb|bytes expand/ });
    for (const args of [
      ['-P', '/etc/hostname'],
      ['-P', `${dir}/../../../etc/hostname`],
    ]) {
      fake.push('escape:1', [packed(execFileSync('tar', ['-c', ...args]))]);
      await refused('escape:1', { code: 'UnsafeLayer' });
    }
    fake.push('garbage:1', [
      { bytes: gzipSync('not a tar at all'.repeat(100)), diffId: digestOf('not a tar at all'.repeat(100)) },
    ]);
    await refused('garbage:1', { code: 'ImageCorrupt' });
    fake.push('good:1', [good]);
    await store.ensure(`${fake.host}/good:1`);
  });

  it('stops when its caller goes, and what was begun is gone at the next open', async () => {
    await using fake = await startFakeRegistry();
    await using store = await open({}, 'stopped');
    const slow = layer({ 'a.txt': 'x' });
    fake.push('slow:1', [slow]);
    const begun = Promise.withResolvers<void>();
    fake.intercept = (request, response) => {
      if (!request.url?.endsWith(digestOf(slow.bytes))) return false;
      response.writeHead(200, { 'content-length': slow.bytes.length });
      response.write(slow.bytes.subarray(0, 10), () => begun.resolve());
      return true;
    };
    const stop = new AbortController();
    const pull = store.ensure(`${fake.host}/slow:1`, { signal: stop.signal });
    await begun.promise;
    stop.abort(new Error('gone'));
    await assert.rejects(pull, /gone/);
    fake.intercept = () => false;
    await store.ensure(`${fake.host}/slow:1`);
    await mkdir(join(dir, 'stopped/layers/tmp-crashed/files'), { recursive: true });
    await writeFile(join(dir, 'stopped/content/ingest/crashed'), 'half');
    await using _again = await open({}, 'stopped');
    assert.ok(!(await readdir(join(dir, 'stopped/layers'))).includes('tmp-crashed'));
    assert.deepEqual(await readdir(join(dir, 'stopped/content/ingest')), []);
  });

  it('shows directories that a layer only implies as they are below, and one layer twice', async () => {
    await using fake = await startFakeRegistry();
    await using store = await open();
    const below = await inDir(
      join(dir, 'implied'),
      'mkdir -p d/e && chown 5:6 d && chmod 1777 d && echo 1 > d/e/f',
      'd',
    );
    const above = await inDir(join(dir, 'implied2'), 'mkdir -p d/e && echo 2 > d/e/g', 'd/e/g');
    fake.push('implied:1', [below, above, below, above]);
    const image = await store.ensure(`${fake.host}/implied:1`);
    assert.equal(new Set(image.layerDirs).size, 4);
    const seen = await view(image);
    assert.match(seen, /^\.\/d drwxrwxrwt 5:6 /m);
    assert.match(seen, /^\.\/d\/e\/g /m);
  });

  it('collects what nothing reaches, and only that', async () => {
    const clock = new FakeClock(Date.now());
    await using fake = await startFakeRegistry();
    await using store = await open({ clock });
    const [shared, old, used] = [layer({ s: '1' }), layer({ o: '2' }), layer({ u: '3' })];
    fake.push('app:1', [shared, old]);
    const first = await store.ensure(`${fake.host}/app:1`);
    fake.push('run:1', [shared, used]);
    const running = await store.ensure(`${fake.host}/run:1`);
    await store.content.untag(`${fake.host}/run:1`);
    await store.content.untag(`${fake.host}/app:1`);
    assert.equal((await store.collect([running.resolved])).freedBytes, 0, 'what was asked for lately stays');
    clock.advance(60 * 60 * 1000);
    assert.ok((await store.collect([running.resolved])).freedBytes > 0);
    assert.deepEqual((await store.ensure(running.resolved, { policy: 'Never' })).layerDirs, running.layerDirs);
    await assert.rejects(store.ensure(first.resolved, { policy: 'Never' }), { code: 'ImageNotFound' });
    assert.equal(await store.content.has(digestOf(old.bytes)), false);
    assert.equal((await store.collect([running.resolved])).freedBytes, 0);
  });

  it('is not disturbed by a collection in the middle of a pull', async () => {
    const clock = new FakeClock(Date.now());
    await using fake = await startFakeRegistry();
    await using store: ImageStore = await open({ clock, limits: { collectGraceMs: 0 } });
    const layers = [layer({ a: '1' }), layer({ b: '2' })];
    fake.push('app:1', layers);
    let collected: Promise<unknown> | undefined;
    fake.intercept = (request) => {
      if (request.url?.includes('/blobs/')) {
        clock.advance(1000);
        collected = store.collect([]);
      }
      return false;
    };
    const image = await store.ensure(`${fake.host}/app:1`);
    await collected;
    fake.intercept = () => false;
    assert.deepEqual((await store.ensure(image.resolved, { policy: 'Never' })).layerDirs, image.layerDirs);
  });
});

function found(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((path) => {
    try {
      execFileSync('test', ['-x', join(path, tool)]);
      return true;
    } catch {
      return false;
    }
  });
}

function sh(command: string, ...args: string[]): string {
  const env = { ...process.env, LC_ALL: 'C', STORAGE_DRIVER: 'vfs' };
  return execFileSync(command, args, {
    encoding: 'latin1',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
  });
}

/** Everything that a process could see of a tree: types, modes, owners, sizes, times, links, contents, xattrs. */
function listing(root: string): string {
  const script = `cd "$1"
    find . -mindepth 1 -type d -printf '%p %M %U:%G %y\\n'
    find . -mindepth 1 ! -type d -printf '%p %M %U:%G %y %s %Ts %l\\n'
    find . -type f -links +1 -printf '%i %p\\n' | sort | awk '{if ($1 == inode) print file, "and", $2, "are one"; inode=$1; file=$2}'
    find . \\( -type c -o -type b \\) -exec stat -c '%n device %t:%T' {} +
    find . -type f -exec sha256sum {} +
    find . \\( -type f -o -type d \\) -exec getfattr -h -d -m '^(user|security\\.capability)' -e hex {} + 2>/dev/null |
      awk '/^# file: /{file=$3} /=/{print file, $0}' | sed 's/=/ = /'`;
  return sh('bash', '-c', script, 'bash', root).split('\n').sort().join('\n');
}

/** bcrypt of `secret`. */
const secretHash = '$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a';

async function startRegistry(dir: string, more = ''): Promise<AsyncDisposable & { host: string }> {
  await mkdir(dir, { recursive: true });
  const config = join(dir, 'registry.yml');
  await writeFile(
    config,
    `version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: ${dir}/registry}}
http: {addr: '127.0.0.1:0'}
${more}
`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const port = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      const match = /listening on 127\.0\.0\.1:(\d+)/.exec(log);
      if (match?.[1]) resolve(match[1]);
    });
    child.on('exit', () => reject(new Error(`docker-registry ended: ${log}`)));
  });
  const stop = async () => {
    const gone = once(child, 'exit');
    child.kill();
    await gone;
  };
  return { host: `localhost:${port}`, [Symbol.asyncDispose]: stop };
}

/** Four trees: all that a layer can hold, whiteouts, opaque directories, and what comes after. */
async function makeLayers(dir: string): Promise<void> {
  const make = async (n: number, script: string) => {
    await mkdir(join(dir, `files${n}`));
    sh('bash', '-ec', `cd "$1"; umask 022; ${script}`, 'bash', join(dir, `files${n}`));
    const args = ['--xattrs', '--xattrs-include=*', '--format=pax', '--sort=name', '-C', join(dir, `files${n}`)];
    sh('tar', ...args, '-cf', join(dir, `files${n}.tar`), '.');
  };
  await make(
    1,
    `mkdir -p dir/sub opaque/sub keep/sub "$(printf 'bytes\\xff')"
     echo one > dir/one; ln dir/one hard; ln dir/one dir/sub/hard; echo two > dir/sub/two
     echo hidden > opaque/hidden; echo hidden > opaque/sub/hidden; echo keep > keep/sub/keep; echo gone > gone
     cp /bin/true setuid; chmod 6755 setuid; chown 12:34 setuid; chmod 6755 setuid
     cp /bin/true caps; setcap cap_net_bind_service,cap_syslog=+ep caps; setfattr -n user.note -v 'a=b' dir/one
     mknod null c 1 3; mknod disk b 7 200; mkfifo pipe; ln -s ../../etc/passwd up; ln -s /etc/shadow abs; ln abs abs2
     echo x > shadow; chmod 0 shadow; mkdir sticky; chmod 1777 sticky; chown 3000000:70000 keep
     long=$(printf 'n%.0s' {1..200}); mkdir -p "$long/$long"; echo deep > "$long/$long/ü ñ"; ln -s "$long/$long" longlink
     touch -d '1971-01-01' old; ln old old2; touch -d '2045-06-07' new; truncate -s 3000000 zeros`,
  );
  await make(
    2,
    `mkdir -p dir opaque; touch dir/.wh.one .wh.gone .wh.hard opaque/.wh..wh..opq; echo fresh > opaque/fresh; chmod 700 opaque`,
  );
  await make(
    3,
    `mkdir -p keep dir/sub; touch dir/sub/.wh.two; echo other > keep/other; chown 5:5 keep; echo again > gone; chmod 4711 gone`,
  );
  await make(4, `touch .wh.keep; mkdir -p opaque/sub; echo last > opaque/sub/last; ln -s opaque dirlink`);
}

/** The trees as an OCI layout with one tag; zstd in two frames. */
async function makeLayout(dir: string, tag: string, compressions: ('gzip' | 'zstd' | 'none')[]): Promise<void> {
  const layout = join(dir, tag);
  await mkdir(join(layout, 'blobs/sha256'), { recursive: true });
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes);
    await writeFile(join(layout, 'blobs/sha256', digest.slice(7)), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const type = 'application/vnd.oci.image.layer.v1.tar';
  const layers = [];
  const diffIds = [];
  for (const [i, compression] of compressions.entries()) {
    const bytes = await readFile(join(dir, `files${i + 1}.tar`));
    diffIds.push(digestOf(bytes));
    const half = bytes.length >> 1;
    if (compression === 'none') layers.push(await put(type, bytes));
    else if (compression === 'gzip') layers.push(await put(`${type}+gzip`, gzipSync(bytes)));
    else
      layers.push(
        await put(
          `${type}+zstd`,
          Buffer.concat([bytes.subarray(0, half), bytes.subarray(half)].map((p) => zstdCompressSync(p))),
        ),
      );
  }
  const config = {
    os: 'linux',
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: await put('application/vnd.oci.image.config.v1+json', Buffer.from(JSON.stringify(config))),
    layers,
  };
  const described = await put(manifest.mediaType, Buffer.from(JSON.stringify(manifest)));
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  await writeFile(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...described, annotations }] }),
  );
  await writeFile(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

function tarOf(path: string): Readable {
  return spawn('tar', ['-C', path, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout;
}

function packed(tar: Buffer) {
  return { bytes: gzipSync(tar), diffId: `sha256:${createHash('sha256').update(tar).digest('hex')}` as const };
}

/** A layer of small files. */
function layer(files: Record<string, string>) {
  const script = Object.entries(files).map(([name, text]) => `printf %s '${text}' > '${name}'`);
  const tar = execFileSync('bash', ['-ec', `d=$(mktemp -d); cd "$d"; ${script.join('; ')}; tar -cf - *; rm -r "$d"`]);
  return packed(tar);
}

async function inDir(path: string, script: string, ...members: string[]) {
  await mkdir(path);
  sh('bash', '-ec', `cd "$1"; ${script}`, 'bash', path);
  return packed(execFileSync('tar', ['-C', path, '-cf', '-', ...members]));
}
