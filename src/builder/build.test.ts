import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openContentStore } from '../images/content.ts';
import type { ContentStore, Descriptor, Digest, ImageConfig } from '../images/images.ts';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import type { Spawner, SpawnOptions, SpawnResult } from '../platform/spawn.ts';
import { buildImage, type BuildOptions } from './build.ts';

/** A small program in Node's place: these tests look at images and start none. */
const node = '/usr/bin/env';

class Commands implements Spawner {
  readonly seen: { command: string; args: readonly string[]; options: SpawnOptions | undefined }[] = [];
  act: (command: string, args: readonly string[], options?: SpawnOptions) => Promise<Partial<SpawnResult>> = () =>
    Promise.resolve({});

  async run(command: string, args: readonly string[], options?: SpawnOptions): Promise<SpawnResult> {
    this.seen.push({ command, args, options });
    return { code: 0, stdout: '', stderr: '', ...(await this.act(command, args, options)) };
  }
}

describe('buildImage', () => {
  let dir: string;
  let content: ContentStore;
  let number = 0;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ebb-build-'));
    content = await openContentStore(join(dir, 'images'));
    await mkdir(join(dir, 'bin'));
    for (const name of ['npm', 'pip3']) await writeFile(join(dir, 'bin', name), '#!/bin/sh\n', { mode: 0o755 });
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function folder(files: Record<string, string>): Promise<string> {
    const root = join(dir, `source-${++number}`);
    await mkdir(root);
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    return root;
  }

  const build = (source: string, options: Partial<BuildOptions> = {}) =>
    buildImage({
      ...{ source, name: 'app', namespace: 'team', content, cacheDir: join(dir, 'cache'), node },
      ...{ spawner: new Commands(), clock: new FakeClock(), logger: silentLogger },
      ...{ env: { PATH: join(dir, 'bin') }, ...options },
    });

  async function look(digest: Digest) {
    const manifest = JSON.parse((await content.read(digest)).toString()) as {
      config: Descriptor;
      layers: Descriptor[];
    };
    const config = JSON.parse((await content.read(manifest.config.digest)).toString()) as ImageConfig;
    return { layers: manifest.layers.map((layer) => layer.digest), config };
  }

  it('names the image, says what it found and how it runs', async () => {
    const built = await build(await folder({ 'server.js': '' }));
    assert.equal(built.reference, `ebb.local/team/app@${built.digest}`);
    assert.equal((await content.resolve('ebb.local/team/app:latest'))?.digest, built.digest);
    assert.equal(built.detected, 'node');
    assert.ok(built.sizeBytes > 1_000_000);
    const { config } = await look(built.digest);
    assert.deepEqual(config.config?.Entrypoint, ['node', 'server.js']);
    assert.equal(config.config?.User, '65532:65532');
    assert.equal(config.config?.WorkingDir, '/app');
    assert.deepEqual(config.config?.Labels, { 'ebb.dev/detected': 'node' });
    assert.ok(config.config?.Env?.includes('NODE_ENV=production'));
    assert.ok(config.config?.Env?.includes('NODE_OPTIONS=--require=/opt/ebb/default-signals.cjs'));
    assert.ok(!config.config?.Env?.some((line) => line.startsWith('PORT=')));
    assert.equal(config.created, '1970-01-01T00:00:00Z');
  });

  it('gives the same digest for the same files and another one for others', async () => {
    const one = await folder({ 'server.js': 'x', 'lib/a.js': 'y', 'lib/b.js': '' });
    const two = join(dir, 'elsewhere');
    await cp(one, two, { recursive: true });
    let second = 1;
    for (const name of await readdir(two, { recursive: true })) await utimes(join(two, name), second, second++);
    const first = await build(one);
    assert.equal((await build(two, { cacheDir: join(dir, 'other-cache') })).digest, first.digest);
    await writeFile(join(two, 'lib/b.js'), 'z');
    assert.notEqual((await build(two)).digest, first.digest);
  });

  const manifest = (value: object) => JSON.stringify({ scripts: { start: 'node a.js' }, ...value });

  it('installs npm packages once for a lockfile, without running their scripts', async () => {
    const files = { 'package.json': manifest({ dependencies: { x: '1' } }), 'package-lock.json': '{}', 'a.js': '' };
    const spawner = new Commands();
    spawner.act = async (_command, _args, options) => {
      await mkdir(join(options?.cwd ?? '', 'node_modules/x'), { recursive: true });
      // Enough that storing them takes a while: they must not be removed before.
      for (let i = 0; i < 300; i++) await writeFile(join(options?.cwd ?? '', `node_modules/x/${i}.js`), 'x');
      return {};
    };
    const one = await look((await build(await folder(files), { spawner })).digest);
    const changed = {
      ...files,
      'a.js': 'changed',
      'package.json': manifest({ version: '2', dependencies: { x: '1' } }),
    };
    const two = await look((await build(await folder(changed), { spawner })).digest);
    assert.equal(spawner.seen.length, 1);
    assert.equal(spawner.seen[0]?.args[0], 'ci');
    for (const flag of ['--omit=dev', '--ignore-scripts']) assert.ok(spawner.seen[0]?.args.includes(flag), flag);
    assert.equal(one.layers.length, 4);
    assert.deepEqual(one.layers.slice(0, 3), two.layers.slice(0, 3));
    await build(await folder({ ...files, 'package-lock.json': '{ }' }), { spawner });
    assert.equal(spawner.seen.length, 2);
    assert.deepEqual(await readdir(join(dir, 'cache', 'scratch')), []);
  });

  it('gives npm the registries of an .npmrc, and nothing that makes it run or write elsewhere', async () => {
    const spawner = new Commands();
    let settings = '';
    spawner.act = async (_command, _args, options) => {
      settings = await readFile(join(options?.cwd ?? '', '.npmrc'), 'utf8');
      return {};
    };
    const npmrc =
      '@me:registry=https://r.example/\n//r.example/:_authToken=t\ngit=./evil\nprefix=/\nignore-scripts=false\n';
    await build(await folder({ 'package.json': manifest({ dependencies: { y: '1' } }), '.npmrc': npmrc }), { spawner });
    assert.equal(settings, '@me:registry=https://r.example/\n//r.example/:_authToken=t');
    assert.equal(spawner.seen[0]?.args[0], 'install');
  });

  it('needs no npm where nothing is asked for or everything is there', async () => {
    const spawner = new Commands();
    await build(
      await folder({ 'package.json': manifest({ devDependencies: { x: '1' } }), 'package-lock.json': '{}' }),
      { spawner },
    );
    const bundled = {
      'package.json': manifest({ dependencies: { x: '1' } }),
      'node_modules/x/a.js': '',
      '.gitignore': 'node_modules',
    };
    await build(await folder(bundled), { spawner });
    assert.deepEqual(spawner.seen, []);
  });

  it('says why packages could not be installed', async () => {
    const spawner = new Commands();
    const source = await folder({ 'package.json': manifest({ dependencies: { z: '1' } }), 'package-lock.json': '{}' });
    spawner.act = () =>
      Promise.resolve({
        code: 1,
        stderr: 'npm error code ENOTFOUND\nnpm error network request to https://r.example failed\n',
      });
    await assert.rejects(build(source, { spawner }), {
      code: 'PackageIndexUnreachable',
      message: /request to https:\/\/r\.example failed/,
    });
    spawner.act = () =>
      Promise.resolve({
        code: 1,
        stderr: 'npm error code EUSAGE\nnpm error package.json and package-lock.json are not in sync\n',
      });
    await assert.rejects(build(source, { spawner }), {
      code: 'DependencyInstallFailed',
      message: /npm ci .*not in sync/,
    });
    await assert.rejects(build(source, { env: { PATH: '/nowhere' } }), { code: 'NpmMissing' });
    assert.deepEqual(await readdir(join(dir, 'cache', 'scratch')), []);
  });

  it('says how to get buildah, also for a Dockerfile that Docker itself should not see', async () => {
    const source = await folder({ Dockerfile: 'FROM scratch', '.dockerignore': 'Dockerfile', 'server.js': '' });
    const spawner = new Commands();
    spawner.act = () => Promise.resolve({ code: 125, stderr: 'Error: no such stage\n' });
    // Whichever this machine has: the command's own words, or how to get the command.
    await assert.rejects(build(source, { spawner }), /Dockerfile: Error: no such stage$|apt install buildah/);
    assert.deepEqual(await readdir(join(dir, 'cache', 'scratch')), []);
  });

  it('refuses a program that the machine does not have or that needs more than itself', async () => {
    await assert.rejects(build(await folder({ Procfile: 'web: ruby x.rb' })), { code: 'InterpreterUnsupported' });

    await assert.rejects(build(await folder({ Procfile: 'web: no-such-program x' })), {
      code: 'InterpreterMissing',
      message: /no-such-program/,
    });
  });

  it('stops when told to', async () => {
    const signal = AbortSignal.abort();
    await assert.rejects(build(await folder({ 'server.js': '' }), { signal }), { name: 'AbortError' });
  });
});
