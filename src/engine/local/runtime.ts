import { access, constants, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, isAbsolute, join } from 'node:path';
import { EbbError, messageOf } from '../../platform/errors.ts';
import type { Spawner } from '../../platform/spawn.ts';
import { hiddenUnified, openMountNamespace, type MountNamespace } from './namespace.ts';

/** An OCI runtime that works on this machine. */
export interface Runtime {
  name: string;
  /** Absolute: conmon does not search PATH. */
  path: string;
  version: string;
}

export interface RuntimeCheck {
  name: string;
  path: string | undefined;
  version: string | undefined;
  /** Why it can't be used, one sentence; undefined when its self-test passed. */
  problem: string | undefined;
}

/**
 * The first runtime whose self-test passes: `wanted` alone if given, else crun (a standby of it costs a tenth of
 * runc's memory), else runc. Throws EbbError NoRuntime saying what each one failed at.
 */
export async function detectRuntime(
  spawner: Spawner,
  options: { wanted?: string | undefined; namespace?: MountNamespace } = {},
): Promise<Runtime> {
  const checks: RuntimeCheck[] = [];
  for (const name of options.wanted ? [options.wanted] : ['crun', 'runc']) {
    const check = await checkRuntime(spawner, name, options.namespace);
    if (check.path !== undefined && check.problem === undefined)
      return { name: check.name, path: check.path, version: check.version ?? '' };
    checks.push(check);
  }
  const words = checks.map((c) => `${c.name}: ${c.problem}`).join('; ');
  throw new EbbError('NoRuntime', 500, `no OCI runtime works here (${words}); install one: apt-get install crun runc`);
}

/**
 * Runs `create`, `start` and `delete` of a container that does nothing. For the doctor, too: without `namespace` it
 * makes and removes its own. Never throws for a runtime's fault.
 */
export async function checkRuntime(spawner: Spawner, name: string, namespace?: MountNamespace): Promise<RuntimeCheck> {
  const path = await findProgram(name);
  if (path === undefined) return { name, path, version: undefined, problem: `${name} is not installed or not in PATH` };
  const version = (await spawner.run(path, ['--version'])).stdout.split('\n')[0]?.replace(/^\S+ version /, '');
  try {
    await selfTest(spawner, path, namespace);
    return { name: basename(path), path, version, problem: undefined };
  } catch (error) {
    return { name: basename(path), path, version, problem: messageOf(error) };
  }
}

/** The absolute path of a program, looked up in PATH and the system folders that a user's PATH may lack. */
export async function findProgram(name: string): Promise<string | undefined> {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const candidates = isAbsolute(name) ? [name] : dirs.filter(isAbsolute).map((dir) => join(dir, name));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return candidate;
  }
  return undefined;
}

async function selfTest(spawner: Spawner, path: string, given: MountNamespace | undefined): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-runtime-test-'));
  const id = basename(dir);
  const log = join(dir, 'log');
  const namespace = given ?? (await openMountNamespace(join(dir, 'ns'), spawner));
  const runtime = (...args: string[]) =>
    // A container inherits the runtime's output: its end would never come, so the runtime's words go to a file.
    namespace.run(path, ['--root', join(dir, 'state'), '--log', log, ...args], { stdio: 'ignore', timeoutMs: 10_000 });
  const step = async (command: string, ...args: string[]) => {
    const { code } = await runtime(command, ...args);
    if (code === 0) return;
    const words = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').at(-1) ?? '';
    throw new EbbError(
      'RuntimeFailed',
      500,
      `self-test: ${command} failed (exit ${code}) ${words.slice(0, 300)}`.trim(),
    );
  };
  try {
    await mkdir(join(dir, 'rootfs'));
    await writeFile(join(dir, 'config.json'), JSON.stringify(await trivialSpec(id)));
    await step('create', '--bundle', dir, id);
    await step('start', id);
  } finally {
    await runtime('delete', '--force', id);
    await namespace.run('rm', ['-rf', hiddenUnified(`/${id}`)]);
    if (!given) await namespace.destroy();
    await rm(dir, { recursive: true, force: true });
  }
}

/** The host's own `true` under limits, in namespaces of its own. */
async function trivialSpec(id: string): Promise<object> {
  const folders: string[] = [];
  for (const folder of ['/usr', '/bin', '/lib', '/lib64'])
    if (await stat(folder).catch(() => undefined)) folders.push(folder); // not every machine has /lib64
  return {
    ociVersion: '1.0.2',
    process: { terminal: false, user: { uid: 0, gid: 0 }, args: ['/bin/true'], cwd: '/', noNewPrivileges: true },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      ...folders.map((f) => ({ destination: f, type: 'bind', source: f, options: ['bind', 'ro'] })),
    ],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
      cgroupsPath: `/${id}`,
      resources: { memory: { limit: 64 * 2 ** 20 }, pids: { limit: 16 } },
    },
  };
}
