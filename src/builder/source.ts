import type { BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink, realpath } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import { ignoreRules, type IgnoreRules } from './ignore-rules.ts';
import { Tree } from './tree.ts';
import type { Listing } from './detect.ts';

export interface SourceLimits {
  files: number;
  bytes: number;
}

export const defaultLimits: SourceLimits = { files: 100_000, bytes: 2 * 1024 ** 3 };

/** Ignore files and others that are read whole are no larger than this. */
const maxTextBytes = 16 * 1024 * 1024;

/** What a source folder's node_modules is: part of the source, or made anew by npm, or nothing special. */
export type ModulesRole = 'bundled' | 'installed' | 'plain';

/** A source folder as it goes into the image. */
export interface Source extends Listing {
  /** The files in the image's folder `/app`, with modes 0644 and 0755, owned by root. */
  tree: Tree;
  bytes: number;
}

/**
 * Reads the folder `root` (a real path), leaving out what its ignore files say, `.git`, `.npmrc` (it may hold tokens),
 * and sockets, pipes and devices (with a note). A node_modules that is 'bundled' is taken whole even where git ignores
 * it; one that is 'installed' is left out at every depth.
 *
 * Throws EbbError SourceTooLarge, SymlinkOutside, BadIgnoreFile.
 */
export async function readSource(options: {
  root: string;
  texts: ReadonlyMap<string, string>;
  modules: ModulesRole;
  notes: (message: string) => void;
  limits?: SourceLimits;
  signal?: AbortSignal;
}): Promise<Source> {
  const { root, modules, texts, signal, limits = defaultLimits } = options;
  const tree = new Tree();
  const paths = new Set<string>();
  const executables = new Set<string>();
  let bytes = 0;
  let visited = 0;

  async function walk(folder: string, outer: IgnoreRules | undefined): Promise<void> {
    signal?.throwIfAborted();
    const names = await readdir(join(root, folder));
    const git =
      folder && outer && names.includes('.gitignore') ? await readSmall(root, `${folder}/.gitignore`) : undefined;
    const rules = git === undefined ? outer : outer?.enter(folder, git);
    for (const name of names) {
      const path = folder ? `${folder}/${name}` : name;
      // Ignored files count as well: looking at them takes time.
      if (++visited > limits.files * 10 || paths.size >= limits.files) throw tooMany(limits);
      if (name === '.git' || name === '.npmrc' || (name === 'node_modules' && modules === 'installed')) continue;
      const stats = await lstat(join(root, path), { bigint: true });
      if (stats.isDirectory()) await enter(path, rules);
      else if (!rules?.ignores(path)) await take(path, stats);
    }
  }

  async function enter(path: string, rules: IgnoreRules | undefined): Promise<void> {
    // What is in a bundled node_modules belongs to packages, whatever ignore files they ship.
    if (path === 'node_modules' && modules === 'bundled') return walk(path, undefined);
    const ignored = rules?.ignores(`${path}/`) ?? false;
    if (ignored && !rules?.mayHoldWanted(path)) return;
    if (!ignored) tree.directory(`app/${path}`);
    await walk(path, rules);
  }

  async function take(path: string, stats: BigIntStats): Promise<void> {
    if (stats.isSymbolicLink()) {
      tree.symlink(`app/${path}`, await targetInside(root, path));
    } else if (stats.isFile()) {
      tree.file(`app/${path}`, join(root, path), stats);
      if (stats.mode & 0o100n) executables.add(path);
      bytes += Number(stats.size);
    } else {
      options.notes(`${path} is a socket, pipe or device: left out`);
      return;
    }
    paths.add(path);
    if (bytes > limits.bytes) {
      throw new EbbError(
        'SourceTooLarge',
        413,
        `the source folder is over ${Math.round(limits.bytes / 1024 ** 2)} MiB (${path} was the last file looked at): list what is not needed in .ebbignore`,
      );
    }
  }

  await walk('', await rulesOf(root));
  return { tree, bytes, paths, executables, text: (path) => (paths.has(path) ? texts.get(path) : undefined) };
}

async function rulesOf(root: string): Promise<IgnoreRules> {
  const [gitignore, ebbignore, dockerignore] = await Promise.all(
    ['.gitignore', '.ebbignore', '.dockerignore'].map((name) => readSmall(root, name)),
  );
  return ignoreRules({ gitignore, ebbignore, dockerignore });
}

function tooMany(limits: SourceLimits): EbbError {
  return new EbbError(
    'SourceTooLarge',
    413,
    `the source folder has too many files (at most ${limits.files} are taken): list what is not needed in .ebbignore`,
  );
}

/** The target of the link at `path`; throws when it leads out of the folder, where the image would not have it. */
async function targetInside(root: string, path: string): Promise<string> {
  const target = await readlink(join(root, path));
  const lexical = posix.normalize(posix.join(posix.dirname(path), target));
  // A link to a link may lead out by the second one; a dangling link has no real path.
  const real = await realpath(join(root, path)).catch(() => root);
  if (target.startsWith('/') || lexical === '..' || lexical.startsWith('../') || !within(root, real)) {
    throw new EbbError(
      'SymlinkOutside',
      422,
      `${path} is a symbolic link to ${target}, which is outside of the source folder: replace it by the file, or list it in .ebbignore`,
    );
  }
  return target;
}

/**
 * The text of a regular file in the folder `root`, links followed as long as they stay inside; undefined when there is
 * no such file. `maxBytes` cuts it short; without it, a file over 16 MiB throws EbbError SourceFileTooLarge.
 */
export async function readSmall(root: string, path: string, maxBytes?: number): Promise<string | undefined> {
  const real = await realpath(join(root, path)).catch(() => undefined); // not there
  if (real === undefined || !within(root, real) || !(await lstat(real)).isFile()) return undefined;
  await using file = await open(real, 'r');
  const { size } = await file.stat();
  if (maxBytes === undefined && size > maxTextBytes) {
    throw new EbbError('SourceFileTooLarge', 413, `${path} is ${size} bytes; at most ${maxTextBytes} are read`);
  }
  const buffer = Buffer.alloc(Math.min(size, maxBytes ?? size));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString('utf8', 0, bytesRead).replace(/^\uFEFF/, '');
}

/** The first of `names` that is a file in the folder `root`. */
export async function firstPresent(root: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if ((await readSmall(root, name, 1)) !== undefined) return name;
  return undefined;
}

function within(root: string, path: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}
