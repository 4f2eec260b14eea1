import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import type { Spawner } from '../platform/spawn.ts';
import { findProgram } from './base-layers.ts';
import { firstPresent, readSmall, type ModulesRole } from './source.ts';
import { Tree } from './tree.ts';

/** What decides which packages a Node app gets. */
export interface NodeDependencies {
  role: ModulesRole;
  /** Equal for equal results: the lockfile, what package.json asks for, npm's settings. */
  key: string;
  /** The files that npm reads, by path in the source folder. */
  files: Map<string, string>;
  locked: boolean;
}

const lockfiles = ['npm-shrinkwrap.json', 'package-lock.json'];
const asking = ['dependencies', 'optionalDependencies', 'peerDependencies', 'overrides', 'workspaces'] as const;
const installTimeoutMs = 10 * 60_000;

/** Looks at what the folder `root` says about packages; reads a handful of files. */
export async function nodeDependencies(root: string): Promise<NodeDependencies> {
  const manifest = await readSmall(root, 'package.json');
  const wanted = manifest === undefined ? {} : wantedOf(manifest);
  const files = new Map<string, string>();
  const none: NodeDependencies = { role: 'plain', key: '', files, locked: false };
  if (manifest === undefined || Object.keys(wanted).length === 0) return none;

  files.set('package.json', manifest);
  const lockName = await firstPresent(root, lockfiles);
  if (!lockName && (await isFolder(join(root, 'node_modules')))) return { ...none, role: 'bundled' };
  if (lockName) {
    const lock = (await readSmall(root, lockName)) ?? '';
    files.set(lockName, lock);
    for (const folder of workspacesOf(lock)) {
      const text = await readSmall(root, `${folder}/package.json`);
      if (text !== undefined) files.set(`${folder}/package.json`, text);
    }
  }
  const settings = safeSettings((await readSmall(root, '.npmrc')) ?? '');
  if (settings) files.set('.npmrc', settings);
  const facts = [...files].map(([path, text]) => [path, path === 'package.json' ? wanted : text]);
  const key = createHash('sha256').update(JSON.stringify(facts)).digest('hex');
  return { role: 'installed', key, files, locked: lockName !== undefined };
}

/**
 * Installs the packages with npm in the empty `folder` and returns them as a tree below `/app`, whose files stay there.
 *
 * Packages' install scripts do not run (`--ignore-scripts`): they would run on this machine as Ebb's user.
 * Throws EbbError NpmMissing, PackageIndexUnreachable, DependencyInstallFailed.
 */
export async function installNodePackages(
  dependencies: NodeDependencies,
  deps: { folder: string; npmCache: string; env: Record<string, string>; spawner: Spawner; signal?: AbortSignal },
): Promise<Tree> {
  const npm = await findProgram('npm', deps.env['PATH'] ?? '');
  if (!npm) {
    throw new EbbError('NpmMissing', 422, 'package.json names dependencies, but npm is not on the PATH: install npm');
  }
  const { folder, signal } = deps;
  for (const [path, text] of dependencies.files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  const args = [
    dependencies.locked ? 'ci' : 'install',
    ...['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'],
    ...['--prefer-offline', '--fetch-retries=1', '--fetch-timeout=60000', '--fetch-retry-mintimeout=1000'],
    ...['--cache', deps.npmCache],
  ];
  const result = await deps.spawner.run(npm, args, {
    cwd: folder,
    env: deps.env,
    timeoutMs: installTimeoutMs,
    ...(signal ? { signal } : {}),
  });
  signal?.throwIfAborted();
  if (result.code !== 0) throw failure(result.stderr || result.stdout, dependencies.locked);
  return modulesTree(folder);
}

function failure(words: string, locked: boolean): EbbError {
  const lines = words.split('\n').map((line) => line.replace(/^npm (error|ERR!) ?/, '').trim());
  const text = lines
    .filter((line) => line !== '' && !/complete log of this run|^code |^\/.*\.log$/.test(line))
    .slice(0, 6)
    .join('; ');
  if (
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|ENOTCACHED)\b/.test(
      words,
    )
  ) {
    return new EbbError(
      'PackageIndexUnreachable',
      422,
      `npm cannot reach its registry (${text.slice(0, 300)}): check the network, or put node_modules into the folder and leave out the lockfile`,
    );
  }
  const command = locked ? 'npm ci --omit=dev' : 'npm install --omit=dev';
  return new EbbError('DependencyInstallFailed', 422, `${command} failed: ${text.slice(0, 1000) || 'no output'}`);
}

/** Every file below a node_modules folder, wherever workspaces put one. */
async function modulesTree(root: string): Promise<Tree> {
  const tree = new Tree();
  const walk = async (folder: string, inside: boolean): Promise<void> => {
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const path = posix.join(folder, entry.name);
      if (entry.isDirectory()) await walk(path, inside || entry.name === 'node_modules');
      else if (!inside) continue;
      else if (entry.isSymbolicLink()) tree.symlink(`app/${path}`, await readlink(join(root, path)));
      else if (entry.isFile())
        tree.file(`app/${path}`, join(root, path), await lstat(join(root, path), { bigint: true }));
    }
  };
  await walk('', false);
  return tree;
}

/** The parts of package.json that ask for packages; empty when none does. A broken package.json is detection's to report. */
function wantedOf(text: string): Record<string, unknown> {
  try {
    const manifest = JSON.parse(text) as Record<string, unknown>;
    const entries = asking.map((name) => [name, manifest[name]] as const);
    return Object.fromEntries(
      entries.filter(([, value]) => typeof value === 'object' && value !== null && Object.keys(value).length > 0),
    );
  } catch {
    return {};
  }
}

/** The folders of the source that the lockfile links into node_modules. */
function workspacesOf(lock: string): string[] {
  try {
    const packages = (JSON.parse(lock) as { packages?: unknown }).packages;
    if (typeof packages !== 'object' || packages === null) return [];
    return Object.keys(packages).filter(
      (path) =>
        path !== '' && !path.includes('node_modules/') && !path.startsWith('/') && !path.split('/').includes('..'),
    );
  } catch {
    return []; // npm itself says what is wrong with the lockfile
  }
}

/** A project's .npmrc may say where packages come from, not what npm runs or where it writes. */
function safeSettings(text: string): string {
  const allowed =
    /^\s*((@[^:=\s]+:)?registry|\/\/[^=\s]+:(_authToken|_auth|username|_password|email|always-auth)|strict-ssl|legacy-peer-deps|engine-strict|install-links|install-strategy)\s*=/;
  return text
    .split(/\r?\n/)
    .filter((line) => allowed.test(line))
    .join('\n');
}

async function isFolder(path: string): Promise<boolean> {
  return lstat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}
