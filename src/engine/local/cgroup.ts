import { access, readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';

/** How control groups are mounted: v1 controllers (alone or beside a v2 mount), or v2 alone. */
export type CgroupLayout = 'v1' | 'hybrid' | 'v2';

const root = '/sys/fs/cgroup';

export async function cgroupLayout(): Promise<CgroupLayout> {
  if (await exists(join(root, 'cgroup.controllers'))) return 'v2';
  return (await exists(join(root, 'unified', 'cgroup.controllers'))) ? 'hybrid' : 'v1';
}

export interface CgroupUsage {
  cpuNanos: number;
  memoryBytes: number;
  pids: number;
}

/** The control groups of one Ebb: all below `/ebb-<id>`, in each hierarchy. */
export class Cgroups {
  readonly layout: CgroupLayout;
  readonly #parent: string;

  constructor(layout: CgroupLayout, id: string) {
    this.layout = layout;
    this.#parent = `ebb-${id}`;
  }

  /** `linux.cgroupsPath` of an instance. */
  pathOf(instance: string): string {
    return `/${this.#parent}/${instance}`;
  }

  /** Directories into which a script puts itself so that conmon is not killed with whoever started the control process. */
  supervisorDirs(): string[] {
    return this.layout === 'v2'
      ? [join(root, this.#parent, 'supervisors')]
      : ['memory', 'pids', 'cpu', 'systemd'].map((c) => join(root, c, this.#parent, 'supervisors'));
  }

  async usage(instance: string): Promise<CgroupUsage | undefined> {
    try {
      if (this.layout === 'v2') {
        const [cpu, memory, pids] = await Promise.all(
          ['cpu.stat', 'memory.current', 'pids.current'].map((file) => this.#read('', instance, file)),
        );
        const micros = Number(/^usage_usec (\d+)$/m.exec(cpu ?? '')?.[1] ?? 0);
        return { cpuNanos: micros * 1000, memoryBytes: Number(memory), pids: Number(pids) };
      }
      const [cpu, memory, pids] = await Promise.all([
        this.#read('cpuacct', instance, 'cpuacct.usage'),
        this.#read('memory', instance, 'memory.usage_in_bytes'),
        this.#read('pids', instance, 'pids.current'),
      ]);
      return { cpuNanos: Number(cpu), memoryBytes: Number(memory), pids: Number(pids) };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENODEV') return undefined; // just ended
      throw error;
    }
  }

  /** How many processes of the instance the kernel killed for want of memory. */
  async oomKills(instance: string): Promise<number> {
    const text = await (
      this.layout === 'v2'
        ? this.#read('', instance, 'memory.events')
        : this.#read('memory', instance, 'memory.oom_control')
    ).catch(() => ''); // the group is gone: nobody can tell any more
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Instances that have a group, `supervisors` aside. */
  async instances(): Promise<string[]> {
    const names = new Set<string>();
    for (const dir of await this.#hierarchies())
      for (const entry of await directories(dir)) if (entry !== 'supervisors') names.add(entry);
    return [...names];
  }

  /** Processes in an instance's group and the groups below it. */
  async pids(instance: string): Promise<number[]> {
    const dir = join(root, this.layout === 'v2' ? '' : 'pids', this.#parent, instance);
    return (await walk(dir)).reduce<Promise<number[]>>(async (before, path) => {
      const text = await readFile(join(path, 'cgroup.procs'), 'utf8').catch(() => ''); // went away meanwhile
      return [...(await before), ...text.split('\n').filter(Boolean).map(Number)];
    }, Promise.resolve([]));
  }

  /** Removes an instance's emptied groups, or with no argument all groups of this Ebb that are empty. */
  async remove(instance?: string): Promise<void> {
    for (const parent of await this.#hierarchies()) {
      const top = instance === undefined ? parent : join(parent, instance);
      // Deepest first. EBUSY: a process is still in it, whose sandbox's removal comes here again.
      for (const dir of (await walk(top)).toReversed()) await rmdir(dir).catch(() => undefined);
    }
  }

  async #hierarchies(): Promise<string[]> {
    if (this.layout === 'v2') return [join(root, this.#parent)];
    const controllers = await directories(root);
    return controllers.map((c) => join(root, c, this.#parent));
  }

  #read(controller: string, instance: string, file: string): Promise<string> {
    return readFile(join(root, controller, this.#parent, instance, file), 'utf8');
  }
}

/** The kernel accounts for swap, so that a limit on memory and swap together can be set. */
export async function hasSwapAccounting(layout: CgroupLayout): Promise<boolean> {
  if (layout !== 'v2') return exists(join(root, 'memory', 'memory.memsw.limit_in_bytes'));
  for (const child of await directories(root)) if (await exists(join(root, child, 'memory.swap.max'))) return true;
  return false;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function directories(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []); // absent
  return entries.filter((e) => e.isDirectory()).map((e) => e.name);
}

/** The directory and all below it, parents first; empty when absent. */
async function walk(top: string): Promise<string[]> {
  if (!(await exists(top))) return [];
  const found = [top];
  for (let i = 0; i < found.length; i++)
    for (const name of await directories(found[i] ?? '')) found.push(join(found[i] ?? '', name));
  return found;
}
