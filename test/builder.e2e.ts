import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile, cp, readdir } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { buildImage, type BuiltImage } from '../src/builder/build.ts';
import { findProgram } from '../src/builder/base-layers.ts';
import { openContentStore, type DiskContentStore } from '../src/images/content.ts';
import type { Descriptor, ImageConfig } from '../src/images/images.ts';
import { systemClock } from '../src/platform/clock.ts';
import { silentLogger } from '../src/platform/logger.ts';
import { systemSpawner } from '../src/platform/spawn.ts';

const run = promisify(execFile);
const examples = join(import.meta.dirname, '..', 'examples');

/** What is in an image is all that its apps have here: they run in a chroot of its unpacked layers, as its user. */
describe('images built from source run on nothing but themselves', () => {
  let dir: string;
  let content: DiskContentStore;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ebb-builder-'));
    content = await openContentStore(join(dir, 'images'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const build = (source: string, cache = 'cache'): Promise<BuiltImage> =>
    buildImage({
      ...{ source, name: 'app', namespace: 'default', content, cacheDir: join(dir, cache) },
      ...{ spawner: systemSpawner, clock: systemClock, logger: silentLogger },
    });

  async function unpack(image: BuiltImage, name: string): Promise<{ root: string; config: ImageConfig }> {
    const manifest = JSON.parse((await content.read(image.digest)).toString()) as {
      config: Descriptor;
      layers: Descriptor[];
    };
    const root = join(dir, name);
    await mkdir(root);
    for (const layer of manifest.layers) {
      const zip = layer.mediaType.endsWith('gzip') ? ['-z'] : [];
      const tar = spawn('tar', [...zip, '-x', '-p', '--numeric-owner', '-f', '-', '-C', root], {
        stdio: ['pipe', 'ignore', 'inherit'],
      });
      const ended = once(tar, 'close');
      await pipeline(await content.stream(layer.digest), tar.stdin);
      assert.deepEqual(await ended, [0, null]);
    }
    return { root, config: JSON.parse((await content.read(manifest.config.digest)).toString()) as ImageConfig };
  }

  const inside = (image: { root: string; config: ImageConfig }, argv: string[], env: string[] = []) => [
    ...[`--userspec=${image.config.config?.User}`, image.root, '/usr/bin/env', '-i', '-C', '/app'],
    ...[...(image.config.config?.Env ?? []), ...env, ...argv],
  ];

  async function answer(image: { root: string; config: ImageConfig }, path = '/') {
    const port = await freePort();
    const argv = image.config.config?.Entrypoint ?? [];
    const app = spawn('chroot', inside(image, argv, [`PORT=${port}`]), { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(app, 'exit');
    let words = '';
    app.stderr.on('data', (chunk: Buffer) => (words += chunk.toString()));
    try {
      // The app says one line when it listens.
      await Promise.race([once(app.stdout, 'data'), ended]);
      assert.equal(app.exitCode, null, `the app ended: ${words}`);
      const got = await get(port, path);
      app.kill('SIGTERM');
      const [code, signal] = (await ended) as [number | null, string | null];
      assert.deepEqual({ code, signal }, { code: 0, signal: null });
      return got;
    } finally {
      app.kill('SIGKILL');
    }
  }

  it('hello: Node, names, zones, certificates and a shell, as an ordinary user', async () => {
    const image = await unpack(await build(join(examples, 'hello')), 'hello');
    assert.match((await answer(image)).body, /^Hello World!/);

    const node = async (code: string) => (await run('chroot', inside(image, ['node', '-e', code]))).stdout.trim();
    const when = `new Date(0).toLocaleString('en-GB', { timeZone: 'Asia/Tokyo', timeZoneName: 'long' })`;
    assert.match(await node(`console.log(${when})`), /\b0?9:00:00 Japan Standard Time/);
    assert.equal(
      await node(`require('dns').lookup('localhost', (e, a) => console.log(e ? e.code : 'found'))`),
      'found',
    );
    const bundle = `require('fs').readFileSync(process.env.SSL_CERT_FILE, 'utf8')`;
    assert.match(await node(`new crypto.X509Certificate(${bundle}); console.log('read')`), /read/);

    const sh = async (line: string) => (await run('chroot', inside(image, ['sh', '-c', line]))).stdout.trim();
    assert.equal(await sh('id -un'), 'nonroot');
    assert.equal(await sh('TZ=Asia/Tokyo date -d @0 +%Z%H'), 'JST09');
    assert.equal(await sh('cd && touch a /tmp/b && ls $HOME'), 'a');
    assert.equal(await sh('touch /app/x 2>/dev/null || echo refused'), 'refused');
    assert.equal(await sh('echo x | sed s/x/y/ | grep y | tr y z'), 'z');
  });

  it('python: every extension module loads, TLS has certificates, bytecode is used', async () => {
    const image = await unpack(await build(join(examples, 'python')), 'python');
    assert.match((await answer(image)).body, /Hello World!/);
    const script = `
import importlib, json, os, sys, sysconfig, ctypes, socket, sqlite3, ssl, threading, zoneinfo, datetime
folder = next(p for p in sys.path if p.endswith('lib-dynload'))
failed = []
for name in sorted({f.split('.')[0] for f in os.listdir(folder) if f.endswith('.so')}):
    try: importlib.import_module(name)
    except Exception as error: failed.append(f'{name}: {error}')
ctypes.CDLL('libnss_dns.so.2'); ctypes.CDLL('libgcc_s.so.1')
t = threading.Thread(target=lambda: None); t.start(); t.join()
print(json.dumps({
  'failed': failed,
  'certificates': ssl.create_default_context().cert_store_stats()['x509_ca'] > 10,
  'sqlite': sqlite3.connect(':memory:').execute('select 1+1').fetchone()[0],
  'ctypes': ctypes.CDLL(None).abs(-3),
  'localhost': len(socket.getaddrinfo('localhost', 80)) > 0,
  'tokyo': datetime.datetime(1970, 1, 1, tzinfo=zoneinfo.ZoneInfo('Asia/Tokyo')).utcoffset().seconds,
  'cached': bool(json.__spec__.cached and os.path.exists(json.__spec__.cached)),
}))`;
    const { stdout } = await run('chroot', inside(image, ['python3', '-c', script]));
    assert.deepEqual(JSON.parse(stdout), {
      ...{ failed: [], certificates: true, sqlite: 2, ctypes: 3, localhost: true, tokyo: 32400, cached: true },
    });
    const { stderr } = await run('chroot', inside(image, ['python3', '-v', '-c', 'import json']));
    assert.match(stderr, /json\/__pycache__\/decoder\.[^ ]+\.pyc matches/);
  });

  it('api: packages from the lockfile, their layer made once', async () => {
    const first = await build(join(examples, 'api'));
    const copy = join(dir, 'api-copy');
    await cp(join(examples, 'api'), copy, { recursive: true });
    await writeFile(join(copy, 'more.js'), '// another file\n');
    const second = await build(copy);
    const layers = async (image: BuiltImage) =>
      (JSON.parse((await content.read(image.digest)).toString()) as { layers: Descriptor[] }).layers.map(
        (l) => l.digest,
      );
    assert.deepEqual((await layers(first)).slice(0, -1), (await layers(second)).slice(0, -1));
    assert.notEqual(first.digest, second.digest);
    const image = await unpack(first, 'api');
    assert.match((await answer(image)).headers['content-type'] ?? '', /json/);
  });

  it('site: our file server, on the same layers as Node apps', async () => {
    const image = await unpack(await build(join(examples, 'site')), 'site');
    const page = await answer(image, '/no-such-page');
    assert.equal(page.status, 404);
    assert.match(page.body, /Washed away/);
  });

  it('gives the same digest for the same files, whatever their times and whatever is cached', async () => {
    const copy = join(dir, 'hello-copy');
    await cp(join(examples, 'hello'), copy, { recursive: true });
    let second = 1;
    for (const name of await readdir(copy)) await utimes(join(copy, name), second, second++);
    assert.equal((await build(copy, 'other-cache')).digest, (await build(join(examples, 'hello'))).digest);
  });

  it('a Dockerfile is built by buildah, which leaves nothing behind', async (t) => {
    if (!(await findProgram('buildah', process.env['PATH'] ?? ''))) return t.skip('buildah is not installed');
    const source = join(dir, 'dockerfile');
    await mkdir(source);
    await writeFile(join(source, 'Dockerfile'), 'FROM scratch\nCOPY hello.txt /\nUSER 7\nENTRYPOINT ["/nothing"]\n');
    await writeFile(join(source, '.dockerignore'), 'Dockerfile\n');
    await writeFile(join(source, 'hello.txt'), 'hello\n');
    const built = await build(source);
    assert.equal(built.detected, 'dockerfile');
    const { root, config } = await unpack(built, 'from-dockerfile');
    assert.equal(await readFile(join(root, 'hello.txt'), 'utf8'), 'hello\n');
    assert.equal(config.config?.User, '7');
    assert.deepEqual(await readdir(join(dir, 'cache', 'scratch')), []);
    assert.equal((await build(source)).digest, built.digest);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function get(port: number, path: string) {
  const [response] = (await once(request({ port, path }).end(), 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
  return { status: response.statusCode, headers: response.headers, body };
}
