import { existsSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fail, ok, warn, type Check } from './check.ts';

const minNodeMajor = 24;
const gib = 1024 ** 3;
const mib = 1024 ** 2;
const littleDiskBytes = 4 * gib;
const tooLittleDiskBytes = 512 * mib;
const littleMemoryBytes = 512 * mib;
const tooLittleMemoryBytes = 192 * mib;

export function nodeCheck(version: string): Check {
  return {
    id: 'node',
    what: 'Node',
    run: () =>
      Number(version.split('.')[0]) >= minNodeMajor
        ? ok(version)
        : fail(`${version} is too old`, `run "npm install" in Ebb's folder, which brings Node ${minNodeMajor} along`),
  };
}

export function rootCheck(isRoot: boolean): Check {
  return {
    id: 'root',
    what: 'root',
    run: () =>
      isRoot
        ? ok('running as root')
        : fail('containers and networks need root', 'run "sudo ebb doctor" and "sudo ebb up"'),
  };
}

export function diskCheck(dataDir: string): Check {
  return {
    id: 'disk',
    what: 'disk space',
    async run() {
      const folder = nearestExisting(dataDir);
      const { bavail, bsize, ffree, files } = await statfs(folder);
      const free = bavail * bsize;
      const text = `${(free / gib).toFixed(1)} GB free for ${dataDir}`;
      const fix = 'free some space, or put the data elsewhere with --data-dir';
      if (free < tooLittleDiskBytes) return fail(text, fix);
      if (files > 0 && ffree < 10_000) return fail(`only ${ffree} inodes free for ${dataDir}`, fix);
      return free < littleDiskBytes ? warn(text, fix) : ok(text);
    },
  };
}

export function memoryCheck(readMeminfo = () => readFile('/proc/meminfo', 'utf8')): Check {
  return {
    id: 'memory',
    what: 'memory',
    async run() {
      const kib = /^MemAvailable:\s+(\d+) kB/m.exec(await readMeminfo())?.[1];
      if (kib === undefined) return warn('the kernel does not tell', 'make /proc readable');
      const bytes = Number(kib) * 1024;
      const text = `${Math.round(bytes / mib)} MB available`;
      const fix = 'stop something else, or add memory';
      if (bytes < tooLittleMemoryBytes) return fail(text, fix);
      return bytes < littleMemoryBytes ? warn(text, fix) : ok(text);
    },
  };
}

/** The path itself or the first folder above it that is there. */
export function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}
