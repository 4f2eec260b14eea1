import { createHash } from 'node:crypto';
import { chmod, chown, lstat, utimes } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { runOrThrow, type Spawner } from '../platform/spawn.ts';
import type { Digest } from './images.ts';
import { cleanEnv, type Layer, type LayerStore } from './layer.ts';

/**
 * The chain IDs of a stack of layers, lowest first (image-spec config.md, "Layer ChainID"): each names a layer together
 * with everything below it.
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below ? `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}` : diffId);
  }
  return chain;
}

/**
 * Makes one overlay stack of layers that were unpacked each for itself. A layer is used as it is, except where that would
 * show something else than applying the layers one after the other:
 * - it has a directory without an entry for it: overlayfs shows the topmost directory's owner and mode, so a copy is made
 *   in which that directory looks as it does below (files are hard links, a copy costs directories only);
 * - it stands in the stack twice: the kernel refuses one lowerdir twice, so the second is such a copy too;
 * - its root is opaque: the layers below are left out.
 */
export async function fitLayers(
  layers: LayerStore,
  spawner: Spawner,
  stack: readonly { diffId: Digest; layer: Layer }[],
  signal: AbortSignal,
): Promise<string[]> {
  const chain = chainIds(stack.map(({ diffId }) => diffId));
  let dirs: string[] = [];
  for (const [i, { layer }] of stack.entries()) {
    if (layer.opaqueRoot) dirs = [];
    const inherited = await findInherited(layer, dirs);
    const id = chain[i];
    if (id === undefined || (inherited.length === 0 && !dirs.includes(layer.files))) {
      dirs.push(layer.files);
      continue;
    }
    const copy = async (dir: string) => {
      await runOrThrow(spawner, 'cp', ['-a', '-l', '-T', layer.files, dir], {
        env: cleanEnv,
        signal,
        timeoutMs: 600_000,
      });
      for (const { path, like } of inherited) {
        await chown(join(dir, path), like.uid, like.gid);
        await chmod(join(dir, path), like.mode & 0o7777);
        await utimes(join(dir, path), like.atime, like.mtime);
      }
      return layer;
    };
    dirs.push((await layers.derive(id, copy, signal)).files);
  }
  return dirs;
}

/** The implied directories that look different below, deepest first so that setting times is not undone. */
async function findInherited(layer: Layer, below: readonly string[]): Promise<{ path: string; like: Stats }[]> {
  const found = [];
  for (const path of layer.impliedDirs) {
    const like = await findBelow(path, below);
    if (like && (like.uid !== 0 || like.gid !== 0 || (like.mode & 0o7777) !== 0o755)) found.push({ path, like });
  }
  return found.sort((a, b) => b.path.length - a.path.length);
}

/** The topmost directory at `path`; a whiteout, a link or a file there or above it hides what lies further down. */
async function findBelow(path: string, below: readonly string[]): Promise<Stats | undefined> {
  for (const dir of below.toReversed()) {
    let at = dir;
    let info: Stats | undefined;
    // One part at a time: a link on the way leads out of the layer, to this machine's own files.
    for (const part of path.split('/')) {
      at = join(at, part);
      info = await lstat(at).catch(() => undefined);
      if (!info) break;
      if (!info.isDirectory()) return undefined;
    }
    if (info) return info;
  }
  return undefined;
}
