import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

const staleMs = 24 * 3_600_000;

/** A new empty folder below `scratch` that is removed with what it holds when it is disposed. */
export async function scratchFolder(scratch: string, name: string): Promise<AsyncDisposable & { path: string }> {
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const path = await mkdtemp(join(scratch, `${name}-`));
  return { path, [Symbol.asyncDispose]: () => remove(path) };
}

/** Removes what builds that were killed left in `scratch` over a day before `nowMs`. */
export async function sweepScratch(scratch: string, nowMs: number): Promise<void> {
  for (const name of await readdir(scratch).catch(() => [])) {
    const path = join(scratch, name);
    const stats = await lstat(path).catch(() => undefined); // its own build removed it meanwhile
    if (stats && nowMs - stats.mtimeMs > staleMs) await remove(path);
  }
}

/** Empties the download cache `path` when it holds more than `maxBytes`; a running install at worst fails once. */
export async function boundCache(path: string, maxBytes: number, scratch: string): Promise<void> {
  if ((await sizeOf(path, maxBytes)) <= maxBytes) return;
  await using away = await scratchFolder(scratch, 'old-cache');
  // One step for whoever reads it: it is there or it is not.
  await rename(path, join(away.path, 'cache')).catch(() => undefined);
}

async function sizeOf(path: string, enough: number): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
    if (bytes > enough) break;
    const below = join(path, entry.name);
    if (entry.isDirectory()) bytes += await sizeOf(below, enough - bytes);
    else bytes += (await lstat(below).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}

/** A killed buildah may leave mounts; removing through one would remove this machine's own files. */
async function remove(path: string): Promise<void> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  if (mounts.includes(` ${path}/`)) return;
  await rm(path, { recursive: true, force: true });
}
