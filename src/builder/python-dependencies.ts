import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, writeFile } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import type { SpawnResult, Spawner } from '../platform/spawn.ts';
import { findProgram } from './base-layers.ts';
import type { Python } from './python-base.ts';
import { readSmall } from './source.ts';
import { Tree } from './tree.ts';

/** Where a Python app's packages are in its image; PYTHONPATH names it. */
export const pythonPackages = '/opt/ebb/python';

/** The requirement files of a folder, by path, and a key that is equal when they are. */
export interface PythonDependencies {
  key: string;
  files: Map<string, string>;
}

const installTimeoutMs = 10 * 60_000;
const maxFiles = 32;
const maxTextLength = 1024 * 1024;
const maxLineLength = 20_000;

/**
 * Reads requirements.txt and the files that it includes; undefined when no package is asked for.
 * What would run code of the folder while installing (`-e`, paths, version control) throws EbbError BadRequirement.
 */
export async function pythonDependencies(root: string): Promise<PythonDependencies | undefined> {
  const files = new Map<string, string>();
  let packages = 0;
  const read = async (path: string, from: string): Promise<void> => {
    if (files.has(path)) return;
    const text = await readSmall(root, path);
    if (text === undefined || files.size >= maxFiles) {
      if (from === '') return;
      throw new EbbError('BadRequirement', 422, `${from} includes ${path}, which is not in the folder`);
    }
    files.set(path, text);
    if (text.length > maxTextLength) {
      throw new EbbError(
        'BadRequirement',
        422,
        `${path} is ${text.length} characters long; at most ${maxTextLength} are read`,
      );
    }
    for (const line of logicalLines(text)) {
      const included = /^(?:-r|--requirement|-c|--constraint)[ =]*(\S+)$/.exec(line)?.[1];
      if (included !== undefined) await read(posix.join(posix.dirname(path), included), path);
      else if (isPackage(line, path)) packages++;
    }
  };
  await read('requirements.txt', '');
  if (packages === 0) return undefined;
  return {
    files,
    key: createHash('sha256')
      .update(JSON.stringify([...files]))
      .digest('hex'),
  };
}

/**
 * Installs the packages with pip in the empty `folder` and returns them as a tree at {@link pythonPackages}, with their
 * bytecode; the tree's files stay there.
 * Only wheels are taken: building others would run their code on this machine as Ebb's user.
 * Throws EbbError PipMissing, PackageIndexUnreachable, DependencyInstallFailed.
 */
export async function installPythonPackages(
  dependencies: PythonDependencies,
  python: Python,
  deps: { folder: string; pipCache: string; env: Record<string, string>; spawner: Spawner; signal?: AbortSignal },
): Promise<Tree> {
  const { folder } = deps;
  const options = {
    cwd: join(folder, 'requirements'),
    // Bytecode of sets of strings differs from run to run unless their hashes do not.
    env: { ...deps.env, PYTHONHASHSEED: '0' },
    timeoutMs: installTimeoutMs,
    ...(deps.signal ? { signal: deps.signal } : {}),
  };
  for (const [path, text] of dependencies.files) {
    await mkdir(dirname(join(options.cwd, path)), { recursive: true });
    await writeFile(join(options.cwd, path), text);
  }
  const target = join(folder, 'packages');
  const pip = await pipCommand(python, deps);
  const result = await deps.spawner.run(
    pip[0],
    [
      ...pip.slice(1),
      ...['install', '--target', target, '--only-binary', ':all:', '--no-compile', '--cache-dir', deps.pipCache],
      ...['--disable-pip-version-check', '--no-input', '--retries', '1', '--timeout', '20', '--quiet'],
      ...['-r', 'requirements.txt'],
    ],
    options,
  );
  deps.signal?.throwIfAborted();
  if (result.code !== 0) throw failure(result);
  // -s and -p: tracebacks name the files where the image has them. A file that does not compile is the app's affair.
  await deps.spawner.run(
    python.executable,
    ['-m', 'compileall', '-q', '--invalidation-mode', 'unchecked-hash', '-s', target, '-p', pythonPackages, target],
    options,
  );
  return folderTree(target, pythonPackages);
}

/** Requirement lines without comments and blank ones, continuations joined (pip, "Requirements File Format"). */
function logicalLines(text: string): string[] {
  return text
    .replaceAll(/\\\r?\n/g, ' ')
    .split(/\r?\n/)
    .map((line) =>
      line
        .replace(/(^|\s)#.*$/, '')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    )
    .filter((line) => line !== '');
}

/** Whether a line asks for a package, rather than setting an option. */
function isPackage(line: string, file: string): boolean {
  if (
    /^(-i|--index-url|--extra-index-url|--pre|--require-hashes|--prefer-binary|--only-binary|--trusted-host)\b/.test(
      line,
    )
  ) {
    return false;
  }
  // Options such as hashes are many and long, but nothing that is looked at below is.
  const [request = ''] = line.slice(0, maxLineLength).split(/\s--hash/, 1);
  // PEP 508: a name, extras, then versions or `@ URL`.
  const url = /^[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?\s*@\s*(\S+)/.exec(request)?.[1];
  const named = /^[A-Za-z0-9][\w.-]*\s*(\[[^\]]*\])?\s*([<>=!~;(].*)?$/.test(request.trim());
  if (line.length <= maxLineLength && (named || (url !== undefined && /^https:\/\/[^#]*\.whl(#.*)?$/.test(url))))
    return true;
  throw new EbbError(
    'BadRequirement',
    422,
    `${file}: "${line.slice(0, 100)}" is not taken: name packages with versions, or give the https address of a wheel; for anything else use a Dockerfile`,
  );
}

type PipCommand = [string, ...string[]];

/** Distributions ship pip apart from Python; any other Python's pip can work for this one (`--python`, pip 22.3). */
async function pipCommand(
  python: Python,
  deps: { env: Record<string, string>; spawner: Spawner },
): Promise<PipCommand> {
  const own = await deps.spawner.run(python.executable, ['-I', '-c', 'import pip'], { env: deps.env });
  if (own.code === 0) return [python.executable, '-m', 'pip'];
  for (const name of ['pip3', 'pip']) {
    const other = await findProgram(name, deps.env['PATH'] ?? '');
    if (other) return [other, '--python', python.executable];
  }
  throw new EbbError(
    'PipMissing',
    422,
    'requirements.txt names packages, but the machine has no pip: install it (apt install python3-pip)',
  );
}

function failure({ stderr, stdout }: SpawnResult): EbbError {
  const words = (stderr || stdout).trim();
  const text = words
    .split('\n')
    .filter((line) => /^(ERROR|error)/.test(line))
    .slice(0, 4)
    .join('; ');
  if (
    /NewConnectionError|ConnectTimeoutError|ReadTimeoutError|Temporary failure in name resolution|Network is unreachable|ProxyError/.test(
      words,
    )
  ) {
    return new EbbError(
      'PackageIndexUnreachable',
      422,
      `pip cannot reach its package index to install requirements.txt: check the network, or set PIP_INDEX_URL to one that can be reached`,
      { cause: new Error(words) },
    );
  }
  return new EbbError(
    'DependencyInstallFailed',
    422,
    `pip install -r requirements.txt failed (only wheels are taken): ${(text || words).slice(0, 1000) || 'no output'}`,
  );
}

async function folderTree(host: string, at: string): Promise<Tree> {
  const tree = new Tree();
  const walk = async (below: string): Promise<void> => {
    for (const entry of await readdir(join(host, below), { withFileTypes: true })) {
      const path = join(below, entry.name);
      const place = join(at, path);
      if (entry.isDirectory()) await walk(path);
      else if (entry.isSymbolicLink()) tree.symlink(place, await readlink(join(host, path)));
      else if (entry.isFile()) tree.file(place, join(host, path), await lstat(join(host, path), { bigint: true }));
    }
  };
  tree.directory(at);
  await walk('');
  return tree;
}
