import { readFile } from 'node:fs/promises';

const magic = 'glibc-ld.so.cache1.1';
const headerBytes = 48;
const entryBytes = 24;

/**
 * The libraries that ldconfig knows: soname to the paths it lists, best first (glibc, `sysdeps/generic/dl-cache.h`).
 * Empty on a machine without the cache (musl). Variants for newer processors only (`glibc-hwcaps`) are left out: the
 * image may run on another machine.
 */
export async function readLoaderCache(path = '/etc/ld.so.cache'): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch {
    return found; // no cache: the loader's default folders remain
  }
  // Before glibc 2.32 the new format came after an old one in the same file; its offsets count from its own magic.
  const start = bytes.indexOf(magic, 0, 'latin1');
  if (start < 0) return found;
  const cache = bytes.subarray(start);
  const count = cache.readUInt32LE(20);
  for (let i = 0; i < count; i++) {
    const at = headerBytes + i * entryBytes;
    if (at + entryBytes > cache.length) break;
    if (cache.readBigUInt64LE(at + 16) !== 0n) continue;
    const soname = cString(cache, cache.readUInt32LE(at + 4));
    const file = cString(cache, cache.readUInt32LE(at + 8));
    const paths = found.get(soname);
    if (paths) paths.push(file);
    else found.set(soname, [file]);
  }
  return found;
}

function cString(buffer: Buffer, start: number): string {
  const end = buffer.indexOf(0, start);
  return buffer.toString('latin1', start, end < 0 ? buffer.length : end);
}
