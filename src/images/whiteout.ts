import { EbbError } from '../platform/errors.ts';
import { show, type TarEntry } from './tar.ts';

export interface LayerLimits {
  /** Entries in one layer. */
  entries: number;
  /** Bytes of one layer's uncompressed tar. */
  bytes: number;
  /** Uncompressed bytes for one compressed byte; counted only above 64 MiB uncompressed. */
  ratio: number;
}

export const defaultLayerLimits: LayerLimits = { entries: 1_000_000, bytes: 64 * 1024 ** 3, ratio: 200 };

/** What a layer says about the layers below it, beyond the files in its directory. */
export interface LayerFacts {
  /** The layer's root is opaque: overlayfs has no such mark for a root, so the layers below are to be left out. */
  opaqueRoot: boolean;
  /**
   * Directories that the layer has only because something in them changed, without an entry of their own: they take
   * their owner, mode and times from the layers below.
   */
  impliedDirs: string[];
}

const longestPath = 4095;
const longestName = 255;
const prefix = '.wh.';
const opaqueMark = '.wh..wh..opq';
const opaqueXattr = 'trusted.overlay.opaque';

/**
 * The rules of one layer, entry by entry and without I/O: what is refused (UnsafeLayer, ImageCorrupt) and what the entry
 * becomes in overlayfs format. Whiteouts hide only what lower layers have (image-spec layer.md), so they come out at the
 * end, when everything that this layer itself has is known.
 */
export class LayerRules {
  readonly #limits: LayerLimits;
  #count = 0;
  /** Everything that exists so far; directories with their entry, because an opaque mark may follow. */
  readonly #nodes = new Map<string, TarEntry | 'symlink' | 'other'>();
  readonly #implied = new Set<string>();
  readonly #whiteouts = new Set<string>();
  readonly #opaque = new Set<string>();

  constructor(limits: LayerLimits) {
    this.#limits = limits;
  }

  /** The headers to write for `original`; only the last one is followed by the entry's body. */
  admit(original: TarEntry): TarEntry[] {
    if (++this.#count > this.#limits.entries) throw unsafe(`has more than ${this.#limits.entries} entries`);
    const path = cleanPath(original.path, 'name');
    const slash = path.lastIndexOf('/');
    const base = path.slice(slash + 1);
    const parent = path.slice(0, Math.max(slash, 0));
    if (parent.startsWith(prefix) || parent.includes(`/${prefix}`)) {
      if (isAufs(parent)) return [];
      throw unsafe(`has the entry "${show(path)}" below a whiteout`);
    }
    if (base.startsWith(prefix)) return this.#admitMark(path, parent, base);
    const before = path === '' ? [] : this.#enter(parent, path);
    const entry: TarEntry = { ...original, path: path === '' ? '.' : path, xattrs: keptXattrs(original.xattrs) };
    if (path === '' && entry.type !== 'directory') throw unsafe('has a root that is not a directory');
    this.#checkLink(entry);
    this.#place(path, entry);
    return [...before, entry];
  }

  /** Whiteouts and opaque directories, to be written last. */
  finish(): TarEntry[] {
    const last: TarEntry[] = [];
    for (const path of this.#whiteouts) {
      const own = this.#nodes.get(path);
      if (typeof own === 'object') this.#opaque.add(path);
      else if (own === undefined && !this.#opaque.has(parentOf(path))) last.push(whiteout(path));
    }
    for (const path of this.#opaque) {
      const own = this.#nodes.get(path);
      if (path === '' || typeof own !== 'object') continue;
      last.push({ ...own, xattrs: new Map([...own.xattrs, [opaqueXattr, Buffer.from('y')]]) });
    }
    return last;
  }

  /** To be asked after {@link finish}. */
  facts(): LayerFacts {
    return { opaqueRoot: this.#opaque.has(''), impliedDirs: [...this.#implied] };
  }

  #admitMark(path: string, parent: string, base: string): TarEntry[] {
    if (base === opaqueMark) {
      const before = this.#enter(parent, path);
      this.#opaque.add(parent);
      return before;
    }
    // aufs keeps its own bookkeeping under these names; no runtime applies it.
    if (base.startsWith('.wh..wh.')) return [];
    const hidden = base.slice(prefix.length);
    if (hidden === '' || hidden === '.' || hidden === '..') throw unsafe(`has the whiteout "${show(path)}"`);
    const before = this.#enter(parent, path);
    this.#whiteouts.add(parent === '' ? hidden : `${parent}/${hidden}`);
    return before;
  }

  /** Makes sure that `parent` is a directory of this layer; returns the directories that have to be made for that. */
  #enter(parent: string, path: string): TarEntry[] {
    if (parent === '') return [];
    const node = this.#nodes.get(parent);
    if (typeof node === 'object') return [];
    if (node === 'symlink')
      throw unsafe(`has the entry "${show(path)}" that passes through the symbolic link "${show(parent)}"`);
    if (node === 'other')
      throw corrupt(`has the entry "${show(path)}" below "${show(parent)}", which is not a directory`);
    const above = this.#enter(parentOf(parent), path);
    if (++this.#count > this.#limits.entries) throw unsafe(`has more than ${this.#limits.entries} entries`);
    const made = directory(parent);
    this.#nodes.set(parent, made);
    this.#implied.add(parent);
    return [...above, made];
  }

  #place(path: string, entry: TarEntry): void {
    const old = this.#nodes.get(path);
    const isDirectory = entry.type === 'directory';
    if (old !== undefined && (typeof old === 'object') !== isDirectory) {
      throw corrupt(`has "${show(path)}" twice, as a directory and as something else`);
    }
    this.#implied.delete(path);
    this.#nodes.set(path, isDirectory ? entry : entry.type === 'symlink' ? 'symlink' : 'other');
  }

  #checkLink(entry: TarEntry): void {
    if (entry.type === 'symlink' && (entry.target === '' || entry.target.length > longestPath)) {
      throw corrupt(`has the symbolic link "${show(entry.path)}" with a target of ${entry.target.length} bytes`);
    }
    if (entry.type !== 'link') return;
    entry.target = cleanPath(entry.target, 'hard link target');
    const node = this.#nodes.get(entry.target);
    if (node === undefined) {
      throw corrupt(
        `has the hard link "${show(entry.path)}" to "${show(entry.target)}", which is not in the same layer before it`,
      );
    }
    if (typeof node === 'object') throw unsafe(`has the hard link "${show(entry.path)}" to a directory`);
    if (entry.target === entry.path) throw corrupt(`has the hard link "${show(entry.path)}" to itself`);
  }
}

/** A relative path without `.` and empty parts; throws for what would leave the layer's root. */
function cleanPath(path: string, what: string): string {
  if (path.startsWith('/')) throw unsafe(`has the absolute ${what} "${show(path)}"`);
  if (path.length > longestPath)
    throw unsafe(`has a ${what} of ${path.length} bytes; at most ${longestPath} are possible`);
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    if (part === '..') throw unsafe(`has the ${what} "${show(path)}" that leaves the root`);
    if (part.length > longestName)
      throw unsafe(`has a ${what} with a part of ${part.length} bytes; at most ${longestName} are possible`);
  }
  return parts.join('/');
}

/**
 * `trusted.overlay.*` and `user.overlay.*` steer overlayfs itself (a redirect could show any lower file), SELinux and IMA
 * labels belong to the machine that made them. The rest is content.
 */
function keptXattrs(xattrs: Map<string, Buffer>): Map<string, Buffer> {
  if (xattrs.size === 0) return xattrs;
  return new Map(
    [...xattrs].filter(
      ([name]) =>
        (name.startsWith('user.') && !name.startsWith('user.overlay.')) ||
        (name.startsWith('trusted.') && !name.startsWith('trusted.overlay.')) ||
        name.startsWith('system.posix_acl_') ||
        name === 'security.capability',
    ),
  );
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0));
}

function isAufs(path: string): boolean {
  return path.split('/').some((part) => part.startsWith('.wh..wh.'));
}

function directory(path: string): TarEntry {
  return { ...whiteout(path), type: 'directory', mode: 0o755 };
}

function whiteout(path: string): TarEntry {
  return {
    path,
    type: 'character',
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: '0',
    target: '',
    device: { major: 0, minor: 0 },
    xattrs: new Map(),
  };
}

function unsafe(what: string): EbbError {
  return new EbbError('UnsafeLayer', 422, `the layer ${what}; it is refused`);
}

function corrupt(what: string): EbbError {
  return new EbbError('ImageCorrupt', 422, `the layer ${what}`);
}
