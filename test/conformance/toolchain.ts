import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../support/ebb.ts';
import { writeImageArchive } from './image.ts';

const execute = promisify(execFile);
const suite = join(import.meta.dirname, 'suite');
const serving = 'knative.dev/serving';
const packages = ['test/conformance/api/v1', 'test/conformance/api/v1beta1', 'test/conformance/runtime'];

/** Those of the suite's images that these packages ask for, below test/test_images. */
const images = [
  ...['autoscale', 'failing', 'helloworld', 'hellovolume', 'pizzaplanetv1', 'pizzaplanetv2', 'readiness', 'runtime'],
  ...['singlethreaded', 'timeout', 'volumes'],
  ...['multicontainer/servingcontainer', 'multicontainer/sidecarcontainer'],
];

export interface Built {
  /** Test binaries of the suite's packages, and the folders in which they expect to be run. */
  tests: { binary: string; folder: string }[];
  /** OCI archives of the test images by name. */
  images: { name: string; archive: string }[];
}

export async function findGo(): Promise<string | undefined> {
  for (const go of ['go', '/usr/local/go/bin/go']) {
    try {
      await execute(go, ['version']);
      return go;
    } catch {
      // Not there: the next place, or nowhere.
    }
  }
  return undefined;
}

/**
 * Compiles the pinned suite and its test images straight from Go's module cache, unless that was done before. `go.sum`
 * holds every module's checksum, so what is tested against is the same everywhere.
 */
export async function compile(go: string): Promise<Built> {
  const pins = await Promise.all(['go.mod', 'go.sum'].map((file) => readFile(join(suite, file))));
  const { stdout: version } = await execute(go, ['version']);
  const own = await Promise.all(['toolchain.ts', 'image.ts'].map((file) => readFile(join(import.meta.dirname, file))));
  const key = createHash('sha256').update(version);
  for (const bytes of [...pins, ...own]) key.update(bytes);
  const dir = join(root, 'node_modules/.cache/ebb-conformance', key.digest('hex').slice(0, 16));
  if (!existsSync(dir)) await build(go, dir);
  const { stdout: source } = await execute(go, ['list', '-m', '-f', '{{.Dir}}', serving], { cwd: suite });
  return {
    tests: packages.map((path) => ({
      binary: join(dir, 'tests', binaryOf(path)),
      folder: join(source.trim(), path),
    })),
    images: (await readdir(join(dir, 'images'))).map((file) => ({
      name: file.replace(/\.tar$/, ''),
      archive: join(dir, 'images', file),
    })),
  };
}

async function build(go: string, dir: string): Promise<void> {
  const partial = `${dir}.${process.pid}`;
  try {
    for (const name of ['tests', 'binaries', 'images']) await mkdir(join(partial, name), { recursive: true });
    const options = { cwd: suite, maxBuffer: 2 ** 26, env: { ...process.env, CGO_ENABLED: '0' } };
    for (const path of packages) {
      const out = join(partial, 'tests', binaryOf(path));
      await execute(go, ['test', '-tags=e2e', '-c', '-o', out, `${serving}/${path}`], options);
    }
    const mains = images.map((name) => `${serving}/test/test_images/${name}`);
    const out = `${join(partial, 'binaries')}/`;
    await execute(go, ['build', '-trimpath', '-ldflags=-s -w', '-o', out, ...mains], options);
    for (const name of await readdir(join(partial, 'binaries'))) {
      await writeImageArchive(join(partial, 'binaries', name), join(partial, 'images', `${name}.tar`));
    }
    await rm(join(partial, 'binaries'), { recursive: true });
    await rename(partial, dir);
    // Of former pins: 700 MB each.
    const former = (await readdir(dirname(dir))).map((name) => join(dirname(dir), name)).filter((path) => path !== dir);
    for (const path of former) await rm(path, { recursive: true, force: true });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

function binaryOf(path: string): string {
  return `${path.split('/').slice(2).join('-')}.test`;
}
