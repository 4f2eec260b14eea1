import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContentStore, Digest, ImageConfig } from '../images/images.ts';
import { canonicalName, parseReference } from '../images/reference.ts';
import { writeImage, type NewLayer } from '../images/write.ts';
import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Spawner } from '../platform/spawn.ts';
import {
  appUser,
  certificates,
  findProgram,
  librariesTree,
  nodeTree,
  programsTree,
  systemTree,
} from './base-layers.ts';
import { detect, dockerfiles, filesToRead, type Detected } from './detect.ts';
import { buildDockerfile } from './dockerfile.ts';
import { toolEnvironment } from './environment.ts';
import { openLayerCache } from './layer-cache.ts';
import { storeLayer } from './layer.ts';
import { installNodePackages, nodeDependencies, type NodeDependencies } from './node-dependencies.ts';
import { findPython, pythonTree, type Python } from './python-base.ts';
import { installPythonPackages, pythonDependencies, pythonPackages } from './python-dependencies.ts';
import { firstPresent, readSmall, readSource, type Source, type SourceLimits } from './source.ts';
import { boundCache, scratchFolder, sweepScratch } from './scratch.ts';
import type { Tree } from './tree.ts';

/** What npm and pip may keep of downloads, each. */
const maxDownloadBytes = 2 * 1024 ** 3;

export interface BuildOptions {
  /** Absolute path of the source folder: a private copy that nobody else writes to. Nothing in it is run or changed. */
  source: string;
  /** The image is named `ebb.local/<namespace>/<name>:latest`. */
  name: string;
  namespace: string;
  content: ContentStore;
  /** For records of layers made, package downloads and scratch space; may be deleted between builds. */
  cacheDir: string;
  spawner: Spawner;
  clock: Clock;
  logger: Logger;
  /** The environment of npm, pip and buildah (proxies, index addresses); this process's own unless given. */
  env?: Record<string, string>;
  /** The Node that apps run on; the one that runs this unless given. */
  node?: string;
  limits?: SourceLimits;
  signal?: AbortSignal;
  onProgress?: (event: { message: string }) => void;
}

export interface BuiltImage {
  /** `ebb.local/<namespace>/<name>@sha256:...` */
  reference: string;
  digest: Digest;
  /** What the source was taken for: the `kind` of a {@link Detected}. */
  detected: string;
  /** Of all layers. */
  sizeBytes: number;
}

/**
 * Makes an image from a source folder, with this machine's own interpreters as its base: no Docker, no base image to
 * pull. Network is used for packages only. The same folder on the same machine gives the same digest.
 *
 * Throws EbbError SourceNotRecognised, SourceTooLarge, SymlinkOutside and those of the package installers.
 */
export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  const build = await prepare(options);
  const started = options.clock.monotonic();
  const { detected, name } = build;
  build.progress(`found a ${describe(detected)}`);
  const built =
    detected.kind === 'dockerfile' ? await fromDockerfile(build, detected.file) : await fromSource(build, detected);
  const durationMs = Math.round(options.clock.monotonic() - started);
  options.logger.info({ image: name, digest: built.digest, detected: detected.kind, durationMs }, 'image built');
  return { ...built, detected: detected.kind };
}

interface Build extends BuildOptions {
  name: string;
  root: string;
  env: Record<string, string>;
  node: string;
  scratch: string;
  nodePackages: NodeDependencies;
  files: Source;
  detected: Detected;
  progress(message: string): void;
}

async function prepare(options: BuildOptions): Promise<Build> {
  const scratch = join(options.cacheDir, 'scratch');
  await sweepScratch(scratch, options.clock.now());
  const root = await realpath(options.source);
  const progress = (message: string) => options.onProgress?.({ message });
  const texts = new Map<string, string>();
  for (const path of filesToRead) {
    const text = await readSmall(root, path, path === 'start' ? 4096 : undefined);
    if (text !== undefined) texts.set(path, text);
  }
  const dockerfile = await firstPresent(root, dockerfiles);
  const nodePackages = await nodeDependencies(root);
  const { signal, limits } = options;
  const files = await readSource({
    ...{ root, texts, notes: progress, modules: nodePackages.role },
    ...(limits ? { limits } : {}),
    ...(signal ? { signal } : {}),
  });
  return {
    ...options,
    name: `ebb.local/${options.namespace}/${options.name}`,
    root,
    env: toolEnvironment(options.env ?? process.env),
    node: options.node ?? process.execPath,
    scratch,
    nodePackages,
    files,
    // It may well be listed in the .dockerignore: it need not be in the image.
    detected: dockerfile ? { kind: 'dockerfile', file: dockerfile } : detect(files),
    progress,
  };
}

async function fromDockerfile(build: Build, file: string): Promise<Omit<BuiltImage, 'detected'>> {
  const manifest = await buildDockerfile({ ...build, file });
  const { layers } = JSON.parse((await build.content.read(manifest.digest)).toString()) as {
    layers: { size: number }[];
  };
  await build.content.tag(canonicalName(parseReference(build.name)), manifest);
  const sizeBytes = layers.reduce((sum, layer) => sum + layer.size, 0);
  return { reference: `${build.name}@${manifest.digest}`, digest: manifest.digest, sizeBytes };
}

type FromSource = Exclude<Detected, { kind: 'dockerfile' }>;

async function fromSource(build: Build, detected: FromSource): Promise<Omit<BuiltImage, 'detected'>> {
  const { content, signal, progress } = build;
  const cache = openLayerCache(join(build.cacheDir, 'layers'), content);
  const layers: NewLayer[] = [];
  const base = async (what: string, tree: Tree): Promise<void> => {
    if (tree.size === 0) return;
    const make = () => {
      progress(`making the ${what} layer`);
      return storeLayer(content, tree, signal);
    };
    layers.push(await cache.layer(['base', tree.fingerprint()], make));
  };

  const system = await systemTree(progress);
  await base('system', system);
  const env = baseEnvironment(detected);
  if (detected.runtimes.includes('node')) {
    await base('Node', await nodeTree(build.node, system, progress));
    const layer = await nodePackagesLayer(build, cache.layer);
    if (layer) layers.push(layer);
  }
  if (detected.runtimes.includes('python')) {
    const python = await findPython(build.spawner, build.env);
    await base('Python', await pythonTree(python, system, progress));
    const layer = await pythonPackagesLayer(build, python, cache.layer);
    if (layer) layers.push(layer);
  }
  const programs = await Promise.all(detected.programs.map((program) => locate(program, build.env)));
  if (programs.length > 0) await base(programs.join(', '), await programsTree(programs, system, progress));
  if (detected.kind === 'start')
    await base('library', await librariesTree(join(build.root, 'start'), system, progress));

  const app = build.files.tree;
  app.directory('/app');
  if (detected.kind === 'static') {
    app.text('/opt/ebb/static-server.mjs', await readFile(new URL('static-server.mjs', import.meta.url)));
  }
  if (detected.runtimes.includes('node')) {
    app.text(defaultSignals, await readFile(new URL('default-signals.cjs', import.meta.url)));
  }
  progress(`packing ${build.files.paths.size} files`);
  layers.push(await storeLayer(content, app, signal));

  const config: Omit<ImageConfig, 'rootfs'> = {
    // Fixed: the same input gives the same digest.
    created: '1970-01-01T00:00:00Z',
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: {
      User: `${appUser.uid}:${appUser.gid}`,
      WorkingDir: '/app',
      Entrypoint: detected.argv,
      Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      Labels: { 'ebb.dev/detected': detected.kind },
    },
  };
  const { digest, reference } = await writeImage(content, { layers, config, name: build.name });
  return { reference, digest, sizeBytes: layers.reduce((sum, layer) => sum + layer.descriptor.size, 0) };
}

type Layered = (key: readonly string[], make: () => Promise<NewLayer>) => Promise<NewLayer>;

async function nodePackagesLayer(build: Build, layer: Layered): Promise<NewLayer | undefined> {
  const { nodePackages, content, signal } = build;
  if (nodePackages.role !== 'installed') return undefined;
  const key = [
    'node-packages',
    build.node === process.execPath ? process.version : build.node,
    process.arch,
    nodePackages.key,
  ];
  return layer(key, async () => {
    build.progress(
      nodePackages.locked
        ? 'installing npm packages from the lockfile'
        : 'installing npm packages without a package-lock.json: versions are chosen now; commit one to fix them',
    );
    const npmCache = join(build.cacheDir, 'npm');
    await boundCache(npmCache, maxDownloadBytes, build.scratch);
    await using folder = await scratchFolder(build.scratch, 'npm');
    return await storeLayer(
      content,
      await installNodePackages(nodePackages, { ...build, folder: folder.path, npmCache }),
      signal,
    );
  });
}

async function pythonPackagesLayer(build: Build, python: Python, layer: Layered): Promise<NewLayer | undefined> {
  const wanted = await pythonDependencies(build.root);
  if (!wanted) return undefined;
  return layer(['python-packages', python.executable, python.version, process.arch, wanted.key], async () => {
    build.progress('installing Python packages from requirements.txt');
    const pipCache = join(build.cacheDir, 'pip');
    await boundCache(pipCache, maxDownloadBytes, build.scratch);
    await using folder = await scratchFolder(build.scratch, 'pip');
    const tree = await installPythonPackages(wanted, python, { ...build, folder: folder.path, pipCache });
    return await storeLayer(build.content, tree, build.signal);
  });
}

/** Programs that are nothing without files that no ELF header names. */
const needMore = new Set(['bundle', 'dotnet', 'erl', 'java', 'npm', 'npx', 'perl', 'php', 'pnpm', 'R', 'ruby', 'yarn']);

async function locate(program: string, env: Record<string, string>): Promise<string> {
  if (program.startsWith('/')) return program;
  if (needMore.has(program)) {
    throw new EbbError(
      'InterpreterUnsupported',
      422,
      `the app is started by ${program}, whose own libraries Ebb does not gather: use a Dockerfile`,
    );
  }
  const path = await findProgram(program, env['PATH'] ?? '');
  if (path) return path;
  throw new EbbError(
    'InterpreterMissing',
    422,
    `the app is started by ${program}, which is not on this machine: install it, or use a Dockerfile`,
  );
}

/** Where `default-signals.cjs` is in an image. */
const defaultSignals = '/opt/ebb/default-signals.cjs';

/** The image's environment. PORT is the platform's to set. */
function baseEnvironment({ runtimes }: FromSource): Record<string, string> {
  const node = runtimes.includes('node');
  const python = runtimes.includes('python');
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return {
    PATH: `${node ? '/app/node_modules/.bin:' : ''}${python ? `${pythonPackages}/bin:` : ''}${path}`,
    HOME: appUser.home,
    LANG: 'C.UTF-8',
    SSL_CERT_FILE: certificates,
    // 0.3 ms of the start, measured; without it an app with no SIGTERM handler would live on until it is killed.
    ...(node ? { NODE_ENV: 'production', NODE_OPTIONS: `--require=${defaultSignals}` } : {}),
    ...(python ? { PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: pythonPackages } : {}),
  };
}

function describe(detected: Detected): string {
  switch (detected.kind) {
    case 'dockerfile':
      return detected.file;
    case 'procfile':
      return 'Procfile';
    case 'start':
      return 'start program';
    case 'node':
      return 'Node app';
    case 'python':
      return 'Python app';
    case 'static':
      return 'static site';
  }
}
