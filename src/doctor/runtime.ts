import type { Spawner } from '../platform/spawn.ts';
import { fail, ok, type Check, type Verdict } from './check.ts';
import { findCommand } from './packages.ts';

const versionTimeoutMs = 10_000;

/** The OCI runtime that was asked for, else the first one that works of crun and runc. */
export function runtimeCheck(
  spawner: Spawner,
  options: { runtime?: string; runtimeTest?: (runtime: string, signal: AbortSignal) => Promise<Verdict> },
): Check {
  return {
    id: 'runtime',
    what: 'OCI runtime',
    async run(signal) {
      const wanted = options.runtime === undefined ? ['crun', 'runc'] : [options.runtime];
      let last: Verdict | undefined;
      for (const name of wanted) {
        const command = name.startsWith('/') ? name : findCommand(name);
        if (command === undefined) continue;
        last = options.runtimeTest
          ? await options.runtimeTest(command, signal)
          : await versionOf(spawner, command, signal);
        if (last.state === 'ok') return last;
      }
      return last ?? fail(`no ${wanted.join(' or ')} found`, 'run "apt-get install -y crun runc"');
    },
  };
}

async function versionOf(spawner: Spawner, command: string, signal: AbortSignal): Promise<Verdict> {
  const result = await spawner.run(command, ['--version'], { signal, timeoutMs: versionTimeoutMs });
  const [line = ''] = result.stdout.split('\n');
  return result.code === 0
    ? ok(line)
    : fail(`${command} --version fails: ${result.stderr.trim()}`, `install ${command} anew`);
}
