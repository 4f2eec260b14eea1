import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { fail, ok, warn, type Check } from './check.ts';

/** Commands that Ebb calls and the Debian packages that have them. */
const needed: Readonly<Record<string, string>> = {
  conmon: 'conmon',
  ip: 'iproute2',
  nft: 'nftables',
  tar: 'tar',
  mount: 'mount',
  unshare: 'util-linux',
};
const runtimes = ['crun', 'runc'];

/** Where daemons' commands are on Debian, whatever the caller's PATH says. */
const searchPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export function packagesCheck(
  has: (command: string) => boolean = (command) => findCommand(command) !== undefined,
): Check {
  return {
    id: 'packages',
    what: 'packages',
    run() {
      const missing = Object.keys(needed).filter((command) => !has(command));
      const noRuntime = !runtimes.some(has);
      const packages = [...missing.map((command) => needed[command]), ...(noRuntime ? ['crun', 'runc'] : [])];
      if (packages.length === 0) return ok([...Object.keys(needed), ...runtimes.filter(has)].join(', '));
      const what = [...missing, ...(noRuntime ? ['crun or runc'] : [])].join(', ');
      return fail(`missing: ${what}`, `run "apt-get install -y ${packages.join(' ')}"`);
    },
  };
}

export function buildahCheck(
  has: (command: string) => boolean = (command) => findCommand(command) !== undefined,
): Check {
  return {
    id: 'buildah',
    what: 'buildah',
    run: () =>
      has('buildah')
        ? ok('folders with a Dockerfile can be built')
        : warn(
            'missing: folders with a Dockerfile cannot be built',
            'run "apt-get install -y buildah" if you need that',
          ),
  };
}

/** The path of a command, or undefined. */
export function findCommand(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':').filter(Boolean), ...searchPath];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}
