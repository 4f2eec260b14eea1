import { createHash } from 'node:crypto';
import { lstat, readlink, realpath, readdir } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import { dirname, join, normalize, posix } from 'node:path';
import { readElf, type Elf } from './elf.ts';
import { readLoaderCache } from './loader-cache.ts';

/** What one path of a layer holds. Paths are relative to the image's root, without a leading slash. */
export type LayerEntry = { path: string; uid?: number; gid?: number } & (
  | { type: 'directory'; mode: number }
  | { type: 'symlink'; target: string }
  | { type: 'file'; mode: number; from: FileContent }
);

export type FileContent =
  | { bytes: Buffer }
  /** A file of this machine, as it was when looked at. `stamp` changes when it does. */
  | { host: string; size: number; stamp: string };

/**
 * The files of one layer, gathered by path. Parents are added as needed (0755, root); the last addition of a path wins,
 * except that a folder never replaces what is there.
 */
export class Tree {
  #entries = new Map<string, LayerEntry>();

  get size(): number {
    return this.#entries.size;
  }

  has(path: string): boolean {
    return this.#entries.has(relative(path));
  }

  /** Sorted by path, so that parents come before what they hold and the same files always make the same layer. */
  entries(): LayerEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  }

  directory(path: string, mode = 0o755, owner: { uid?: number; gid?: number } = {}): void {
    this.#parents(relative(path));
    this.#entries.set(relative(path), { type: 'directory', path: relative(path), mode, ...owner });
  }

  symlink(path: string, target: string): void {
    this.#parents(relative(path));
    this.#entries.set(relative(path), { type: 'symlink', path: relative(path), target });
  }

  text(path: string, content: string | Buffer, mode = 0o644): void {
    this.#parents(relative(path));
    const from = { bytes: Buffer.from(content) };
    this.#entries.set(relative(path), { type: 'file', path: relative(path), mode, from });
  }

  /** The file `host` of this machine as `path`, executable for all when it is for its owner. */
  file(path: string, host: string, stats: BigIntStats, mode = stats.mode & 0o100n ? 0o755 : 0o644): void {
    this.#parents(relative(path));
    const stamp = `${stats.ino}:${stats.mtimeNs}:${stats.ctimeNs}`;
    const from = { host, size: Number(stats.size), stamp };
    this.#entries.set(relative(path), { type: 'file', path: relative(path), mode, from });
  }

  /** Takes out every path that `other` holds too. */
  subtract(other: Tree): void {
    for (const path of other.#entries.keys()) this.#entries.delete(path);
  }

  /** A key that is equal for equal trees and differs when any file was replaced or written to since. Reads no content. */
  fingerprint(): string {
    const hash = createHash('sha256');
    for (const entry of this.entries()) {
      const content =
        entry.type === 'file' && 'bytes' in entry.from
          ? createHash('sha256').update(entry.from.bytes).digest('hex')
          : undefined;
      hash.update(JSON.stringify(content === undefined ? entry : { ...entry, from: content }));
    }
    return hash.digest('hex');
  }

  #parents(path: string): void {
    for (let at = posix.dirname(path); at !== '.'; at = posix.dirname(at)) {
      if (this.#entries.has(at)) return;
      this.#entries.set(at, { type: 'directory', path: at, mode: 0o755 });
    }
  }
}

function relative(path: string): string {
  return normalize(path).replace(/^\/+|\/+$/g, '');
}

/** Puts files of this machine into a tree at the paths that they have here, with what they need to be loaded. */
export class HostFiles {
  readonly tree: Tree;
  /** Sonames asked for that are nowhere on this machine, with who asked. */
  readonly missing = new Map<string, string>();
  #cache: Map<string, string[]> | undefined;
  #seen = new Set<string>();
  /** Real folders walked through already. */
  #folders = new Set<string>();
  #home: string | undefined;

  constructor(tree: Tree) {
    this.tree = tree;
  }

  /**
   * Adds the file or folder entry at `path`; symbolic links on the way are kept as links and their targets are added
   * too, so that every name that works here works there. Folders are added without what they hold. For programs and
   * libraries the loader and all needed libraries follow. False when there is no such file.
   */
  async add(path: string): Promise<boolean> {
    const real = await this.#walk(path);
    if (real === undefined) return false;
    const stats = await lstat(real, { bigint: true });
    if (stats.isFile()) await this.#libraries(real);
    return true;
  }

  /** Adds the program at `host` as `path`, by copy, or by link where it finds its libraries relative to itself. */
  async addAs(path: string, host: string): Promise<void> {
    const real = await realpath(host);
    const elf = await readElf(real);
    if (elf?.runPaths.length) {
      await this.add(real);
      this.tree.symlink(path, real);
      return;
    }
    this.tree.file(path, real, await lstat(real, { bigint: true }), 0o755);
    await this.#libraries(real);
  }

  /** Adds what the program at `path` loads, but not the program. */
  async addNeededBy(path: string): Promise<void> {
    await this.#libraries(path);
  }

  /** Adds every file below the folder `path` whose path below it `keep` accepts (folders are asked with a trailing `/`). */
  async addTree(path: string, keep: (relativePath: string) => boolean, below = ''): Promise<void> {
    for (const entry of await readdir(join(path, below), { withFileTypes: true })) {
      const name = below ? `${below}/${entry.name}` : entry.name;
      if (entry.isDirectory()) {
        if (keep(`${name}/`)) await this.addTree(path, keep, name);
      } else if ((entry.isFile() || entry.isSymbolicLink()) && keep(name)) {
        await this.add(join(path, name));
      }
    }
  }

  /** Adds a library that programs open by name at run time; `program` tells for which class and machine. */
  async addLibrary(soname: string, program: string): Promise<boolean> {
    const like = await readElf(program);
    const path = like && (await this.#find(soname, like, []));
    return path !== undefined && this.add(path);
  }

  /** The real path, or undefined when something on the way is missing. */
  async #walk(path: string, depth = 0): Promise<string | undefined> {
    if (depth > 40) return undefined; // as the kernel's ELOOP
    let at = '/';
    const parts = normalize(path).split('/').filter(Boolean);
    for (const [i, part] of parts.entries()) {
      const here = `${at === '/' ? '' : at}/${part}`;
      if (this.#folders.has(here)) {
        at = here;
        continue;
      }
      const stats = await lstat(here, { bigint: true }).catch(() => undefined);
      if (!stats) return undefined;
      if (stats.isSymbolicLink()) {
        const target = await readlink(here);
        this.tree.symlink(here, target);
        return this.#walk(join(target.startsWith('/') ? target : join(at, target), ...parts.slice(i + 1)), depth + 1);
      }
      if (stats.isFile() && !this.tree.has(here)) this.tree.file(here, here, stats);
      if (stats.isDirectory()) {
        if (!this.tree.has(here)) this.tree.directory(here);
        this.#folders.add(here);
      }
      at = here;
    }
    return at;
  }

  async #libraries(real: string): Promise<void> {
    if (this.#seen.has(real)) return;
    this.#seen.add(real);
    const elf = await readElf(real);
    if (!elf) return;
    if (elf.interpreter) await this.add(elf.interpreter);
    const origin = dirname(real);
    const runPaths = elf.runPaths.map((p) => p.replaceAll(/\$\{?ORIGIN\}?/g, origin)).filter((p) => p.startsWith('/'));
    for (const soname of elf.needed) {
      const path = await this.#find(soname, elf, runPaths);
      if (path === undefined) {
        this.missing.set(soname, real);
        continue;
      }
      await this.add(path);
      await this.#makeFindable(soname, path, runPaths);
    }
  }

  /**
   * The image has no ld.so.cache. A library outside the folders that the loader looks into by itself gets a link beside
   * the loader's own libraries, where it does look.
   */
  async #makeFindable(soname: string, path: string, runPaths: string[]): Promise<void> {
    const folder = dirname(path);
    if (soname.includes('/') || runPaths.includes(folder) || defaultFolders.includes(folder)) return;
    this.#home ??= await firstReal([`/usr/lib/${multiarch}`, '/usr/lib64', '/usr/lib']);
    this.tree.symlink(join(this.#home, soname), path);
  }

  async #find(soname: string, like: Elf, runPaths: string[]): Promise<string | undefined> {
    if (soname.includes('/')) return soname;
    this.#cache ??= await readLoaderCache();
    const candidates = [
      ...runPaths.map((p) => join(p, soname)),
      ...(this.#cache.get(soname) ?? []),
      ...defaultFolders.map((p) => join(p, soname)),
    ];
    for (const path of candidates) {
      const elf = await readElf(path).catch(() => undefined); // not there, or not for us to read: the next one
      if (elf && elf.bits === like.bits && elf.machine === like.machine) return path;
    }
    return undefined;
  }
}

async function firstReal(folders: string[]): Promise<string> {
  for (const folder of folders) {
    const real = await realpath(folder).catch(() => undefined); // not on this distribution
    if (real) return real;
  }
  return '/usr/lib';
}

const multiarch = `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

/** Where glibc (with Debian's multiarch folders) and musl look without being told. */
const defaultFolders = [`/lib/${multiarch}`, `/usr/lib/${multiarch}`, '/lib64', '/usr/lib64', '/lib', '/usr/lib'];
