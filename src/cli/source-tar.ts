import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pack, type Pack } from 'tar-stream';
import { EbbError, errnoOf, messageOf } from '../platform/errors.ts';

export interface SourceTarOptions {
  /** Told of what looks like a mistake: a very big file, something that is neither file, folder nor link. */
  warn: (message: string) => void;
  /** Above this size a file gets a warning. */
  bigFileBytes?: number;
}

const defaultBigFileBytes = 100 * 1024 * 1024;
type EntryHeader = Parameters<Pack['entry']>[0];

const maxEntries = 500_000;
/** Installed packages are made anew from these by the builder, for the machine that runs them. */
const lockfiles = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock'];
const ignoreFiles = ['.ebbignore', '.dockerignore'];
/** Never left out: the builder reads them. */
const alwaysSent = [...ignoreFiles, '.gitignore', 'Dockerfile', 'Containerfile'];

/**
 * A source folder as a tar stream: the same folder gives the same bytes. Entries are in byte order of their names, links
 * stay links, times and owners are left out. `.git`, and `node_modules` beside a lockfile, stay at home, as does what the
 * ignore files name plainly; all finer rules are the builder's.
 *
 * Checks the folder before it returns; throws EbbError SourceNotFound, SourceNotADirectory, SourceEmpty. The stream
 * fails with SourceUnreadable or SourceChanged.
 */
export async function sourceTar(folder: string, options: SourceTarOptions): Promise<Readable> {
  const top = await entriesOf(folder, '');
  const skip = await skipRules(folder, top);
  if (top.every((name) => skip(name))) {
    throw new EbbError('SourceEmpty', 400, `the folder ${folder} holds nothing to deploy`);
  }
  return tarOf({ folder, skip, options }, top);
}

/** A whole folder as a tar stream, nothing left out: for image layouts. Throws as {@link sourceTar} does. */
export async function folderTar(folder: string, options: SourceTarOptions): Promise<Readable> {
  return tarOf({ folder, skip: () => false, options }, await entriesOf(folder, ''));
}

function tarOf(walk: Omit<Walk, 'archive' | 'count'>, top: readonly string[]): Readable {
  const archive = pack();
  addFolder({ ...walk, archive, count: 0 }, '', top).then(
    () => archive.finalize(),
    (error: unknown) => archive.destroy(error as Error),
  );
  // streamx, not node:stream, but the same to whoever pipes it.
  return archive as unknown as Readable;
}

interface Walk {
  folder: string;
  archive: Pack;
  skip: (path: string) => boolean;
  options: SourceTarOptions;
  count: number;
}

async function addFolder(walk: Walk, path: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const entry = path === '' ? name : `${path}/${name}`;
    if (!walk.skip(entry)) await addEntry(walk, entry);
  }
}

async function addEntry(walk: Walk, path: string): Promise<void> {
  if (++walk.count > maxEntries) {
    throw new EbbError(
      'SourceTooLarge',
      413,
      `the folder ${walk.folder} holds over ${maxEntries} files; list what is not needed in .ebbignore`,
    );
  }
  const full = join(walk.folder, path);
  const stats = await reading(path, () => lstat(full));
  if (stats.isDirectory()) {
    const names = await entriesOf(walk.folder, path);
    await addHeader(walk, { ...headerOf(path, stats), type: 'directory' });
    await addFolder(walk, path, lockfiles.some((f) => names.includes(f)) ? names.filter(notInstalled) : names);
  } else if (stats.isSymbolicLink()) {
    await addHeader(walk, {
      ...headerOf(path, stats),
      type: 'symlink',
      linkname: await reading(path, () => readlink(full)),
    });
  } else if (stats.isFile()) {
    await addFile(walk, path, full, stats);
  } else {
    walk.options.warn(`${path} is neither a file, a folder nor a link: left out`);
  }
}

async function addFile(walk: Walk, path: string, full: string, stats: Stats): Promise<void> {
  if (stats.size > (walk.options.bigFileBytes ?? defaultBigFileBytes)) {
    walk.options.warn(
      `${path} has ${Math.round(stats.size / 1024 ** 2)} MB: list it in .ebbignore if the app does not need it`,
    );
  }
  const entry = walk.archive.entry({ ...headerOf(path, stats), type: 'file', size: stats.size });
  // The entry is a stream of its own inside the archive: written to the end before the next one may start.
  const written = new Promise<void>((resolve, reject) => {
    entry.once('finish', resolve).once('error', reject);
    entry.once('close', () => reject(new Error('the receiver has gone')));
  });
  written.catch(() => undefined); // looked at below, unless reading fails first
  let seen = 0;
  await reading(path, async () => {
    // Not past the size that the header has promised: a log that is being written may grow meanwhile.
    if (stats.size > 0) {
      for await (const chunk of createReadStream(full, { end: stats.size - 1 }) as AsyncIterable<Buffer>) {
        seen += chunk.length;
        if (!entry.write(chunk)) await Promise.race([new Promise<void>((ok) => entry.once('drain', ok)), written]);
      }
    }
  });
  if (seen !== stats.size) {
    throw new EbbError(
      'SourceChanged',
      409,
      `${path} became shorter while it was read: deploy again when nothing writes to it`,
    );
  }
  entry.end(undefined);
  await written;
}

function addHeader(walk: Walk, header: EntryHeader): Promise<void> {
  return new Promise((resolve, reject) => {
    walk.archive.entry(header, (error) => (error ? reject(error) : resolve()));
  });
}

/** Whether it may be executed is all that counts of a file's mode. */
function headerOf(path: string, stats: Stats): EntryHeader {
  const mode = stats.isDirectory() || (stats.mode & 0o111) !== 0 ? 0o755 : 0o644;
  return { name: path, mode, mtime: new Date(0), uid: 0, gid: 0 };
}

async function entriesOf(folder: string, path: string): Promise<string[]> {
  try {
    const names = await readdir(join(folder, path));
    return names.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  } catch (cause) {
    if (path !== '') throw unreadable(path, cause);
    switch (errnoOf(cause)) {
      case 'ENOENT':
        throw new EbbError('SourceNotFound', 404, `there is no folder ${folder}`, { cause });
      case 'ENOTDIR':
        throw new EbbError(
          'SourceNotADirectory',
          400,
          `${folder} is a file: name the folder of the app, or use -f for a manifest`,
          { cause },
        );
      default:
        throw unreadable(folder, cause);
    }
  }
}

async function skipRules(folder: string, top: readonly string[]): Promise<(path: string) => boolean> {
  const names = new Set(['.git']);
  if (lockfiles.some((file) => top.includes(file))) names.add('node_modules');
  const ignoreFile = ignoreFiles.find((file) => top.includes(file));
  if (ignoreFile) {
    for (const name of plainNames(await reading(ignoreFile, () => readFile(join(folder, ignoreFile), 'utf8'))))
      names.add(name);
  }
  return (path) => names.has(path);
}

/**
 * The rules of an ignore file that mean the same in gitignore's and in Docker's syntax: `/name` and `name/` for something at
 * the top. Where a later `!` could take something back in, none.
 */
function plainNames(text: string): string[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  if (lines.some((line) => line.startsWith('!'))) return [];
  return lines
    .flatMap((line) => /^\/?([A-Za-z0-9._-]+)\/?$/.exec(line)?.[1] ?? [])
    .filter((name) => !alwaysSent.includes(name));
}

function notInstalled(name: string): boolean {
  return name !== 'node_modules';
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw cause instanceof EbbError ? cause : unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): EbbError {
  const why =
    errnoOf(cause) === 'EACCES'
      ? 'permission denied'
      : errnoOf(cause) === 'ENOENT'
        ? 'it has just gone'
        : (errnoOf(cause) ?? messageOf(cause));
  return new EbbError(
    'SourceUnreadable',
    400,
    `cannot read ${path}: ${why}; make it readable or list it in .ebbignore`,
    { cause },
  );
}
