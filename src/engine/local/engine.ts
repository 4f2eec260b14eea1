import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { ImageStore } from '../../images/images.ts';
import { referencesOf } from '../../resources/index.ts';
import type { Clock } from '../../platform/clock.ts';
import { EbbError, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Spawner } from '../../platform/spawn.ts';
import type {
  Drain,
  Engine,
  EngineEvent,
  Instance,
  InstanceStats,
  LogLine,
  LogOptions,
  Prepared,
  PrepareProgress,
  References,
  ResolveReferences,
  Scale,
  Workload,
  WorkloadKey,
} from '../engine.ts';
import { adoptSandboxes } from './adopt.ts';
import type { Cell, CellContext } from './cell.ts';
import { cgroupLayout, Cgroups, hasSwapAccounting } from './cgroup.ts';
import { Gate } from './gate.ts';
import { watchExits } from './exits.ts';
import { LogFiles } from './log-files.ts';
import { readLogs } from './logs.ts';
import { openMountNamespace, type MountNamespace } from './namespace.ts';
import { hostNameServers, Network, takenSubnets } from './network.ts';
import { grantStandbys, standbySlots } from './pool-plan.ts';
import { Pool } from './pool.ts';
import { containerOf, planProcess } from './process.ts';
import { detectRuntime, findProgram } from './runtime.ts';
import { Sandboxes, type SandboxRoots } from './sandbox.ts';
import { settingsOf } from './settings.ts';
import { sweep } from './sweep.ts';
import { formatSubnet, parseSubnet, pickSubnet, type Subnet } from './subnet.ts';

export interface LocalEngineOptions {
  /** Short and unique for this Ebb on this machine: it is part of the name of every kernel object. 1-6 of [0-9a-z]. */
  id: string;
  /** Sandboxes, sockets, the runtime's state: gone after a reboot. */
  runDir: string;
  logsDir: string;
  images: ImageStore;
  spawner: Spawner;
  clock: Clock;
  logger: Logger;
  drain: Drain;
  /** Without it, workloads that need something of a Secret or ConfigMap are refused. */
  resolve?: ResolveReferences;
  /** Name or path of an OCI runtime; the first of crun and runc that passes its self-test unless given. */
  runtime?: string;
  /** `10.70.16.0/20`; picked by `id` and what is free unless given. */
  subnet?: string;
  /** Memory that standby sandboxes may take together; 256 MB unless given. */
  standbyBudgetBytes?: number;
  /** Sandboxes at most, standbys included; 900 unless given: a bridge has 1024 ports. */
  maxInstances?: number;
  /** Networks prepared ahead; 4 unless given. */
  networkPoolSize?: number;
  /** Name servers of instances; the host's own unless given. */
  dnsServers?: readonly string[];
  /** TCP ports of this machine that instances may call; none unless given. */
  hostPorts?: readonly number[];
  /** Where writable layers on disk (`ebb.dev/writable: disk`) are kept; beside `logsDir` unless given. */
  writableDir?: string;
}

/** Runs instances on this machine by an OCI runtime. Needs root, conmon, iproute2 and nftables. */
export async function createLocalEngine(options: LocalEngineOptions): Promise<Engine> {
  if (!/^[0-9a-z]{1,6}$/.test(options.id))
    throw new EbbError('InvalidEngineId', 400, `engine id ${JSON.stringify(options.id)} must be 1 to 6 of 0-9 and a-z`);
  const conmon = await findProgram('conmon');
  if (!conmon) throw new EbbError('NoConmon', 500, 'conmon is not installed; install it: apt-get install conmon');
  const { runDir, spawner } = options;
  const roots: SandboxRoots = {
    sandboxes: join(runDir, 'sandboxes'),
    exits: join(runDir, 'exits'),
    oci: join(runDir, 'oci'),
    sockets: join(runDir, 'attach'),
    writable: options.writableDir ?? join(dirname(options.logsDir), 'writable'),
  };
  for (const dir of [roots.sandboxes, roots.exits, roots.oci, roots.sockets])
    await mkdir(dir, { recursive: true, mode: 0o700 });
  await mkdir(options.logsDir, { recursive: true, mode: 0o750 });
  const namespace = await openMountNamespace(join(runDir, 'ns'), spawner);
  try {
    const runtime = await detectRuntime(spawner, { wanted: options.runtime, namespace });
    const layout = await cgroupLayout();
    const cgroups = new Cgroups(layout, options.id);
    const subnet = await chooseSubnet(options);
    const network = new Network({
      id: options.id,
      subnet,
      poolSize: options.networkPoolSize ?? 4,
      hostPorts: options.hostPorts ?? [],
      namespace,
      spawner,
      logger: options.logger,
    });
    const sandboxes = new Sandboxes({
      roots,
      namespace,
      spawner,
      network,
      cgroups,
      runtime,
      conmon,
      swapAccounting: await hasSwapAccounting(layout),
      openFiles: await openFilesLimit(),
      dnsServers: options.dnsServers ?? (await hostNameServers()),
    });
    options.logger.info(
      { runtime: runtime.path, version: runtime.version, cgroups: layout, subnet: formatSubnet(subnet) },
      'local engine',
    );
    return new LocalEngine(options, {
      roots,
      namespace,
      network,
      sandboxes,
      cgroups,
      runtime: `${runtime.name} ${runtime.version}`.trim(),
      lean: runtime.name === 'crun',
    });
  } catch (error) {
    if (!namespace.found) await namespace.destroy();
    throw error;
  }
}

/** The subnet of this run directory: what a former process noted down, so that adopted instances keep their addresses. */
async function chooseSubnet({ runDir, id, subnet }: LocalEngineOptions): Promise<Subnet> {
  const file = join(runDir, 'subnet');
  const noted = await readFile(file, 'utf8').catch(() => undefined); // first start
  if (noted !== undefined && subnet === undefined) return parseSubnet(noted);
  const chosen = subnet === undefined ? pickSubnet(id, takenSubnets()) : parseSubnet(subnet);
  await writeFile(file, formatSubnet(chosen));
  return chosen;
}

/** The most open files that an instance may be allowed: what this process may have, within the usual million. */
async function openFilesLimit(): Promise<number> {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1];
  return Math.min(1_048_576, Number(hard ?? 4096));
}

interface Parts {
  roots: SandboxRoots;
  namespace: MountNamespace;
  network: Network;
  sandboxes: Sandboxes;
  cgroups: Cgroups;
  /** `crun 1.8.1`. */
  runtime: string;
  /** The runtime keeps no memory of its own for a standby (crun), or a few megabytes (runc, others). */
  lean: boolean;
}

const sweepMs = 1000;
/** A bridge has 1024 ports; some stay free for networks prepared ahead and for instances that are going. */
const defaultMaxInstances = 900;

class LocalEngine implements Engine {
  readonly name = 'local';
  readonly runtime: string;
  readonly #o: LocalEngineOptions;
  readonly #p: Parts;
  readonly #logs: LogFiles;
  readonly #context: CellContext;
  readonly #pools = new Map<WorkloadKey, Pool>();
  readonly #cells = new Map<string, Cell>();
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  readonly #running: Disposable[] = [];
  readonly #ended = new AbortController();
  #adopted: Promise<void> | undefined;
  /** Standbys that each workload may have; undefined after anything changed that it depends on. */
  #grants: Map<string, number> | undefined;
  #balancing = false;

  constructor(options: LocalEngineOptions, parts: Parts) {
    this.#o = options;
    this.#p = parts;
    this.runtime = parts.runtime;
    this.#logs = new LogFiles(options.logsDir);
    this.#context = {
      ...parts,
      logs: this.#logs,
      clock: options.clock,
      logger: options.logger,
      drain: options.drain,
      references: (workload) => this.#references(workload),
      creations: new Gate(Math.max(2, availableParallelism())),
      changed: (cell) => {
        this.#emit({ type: 'instance', instance: cell.instance });
        // After an end comes `ended`, which first has to say how long to wait.
        if (cell.instance.status.state !== 'exited') this.#poolOf(cell)?.replan();
      },
      warned: (cell, message) => this.#poolOf(cell)?.warned(cell, message),
      failed: (cell) => this.#poolOf(cell)?.failed(cell),
      ended: (cell, exit) => this.#poolOf(cell)?.ended(cell, exit),
      removed: (cell) => this.#removed(cell),
    };
  }

  adopt(known: readonly Workload[]): Promise<void> {
    return (this.#adopted ??= this.#adopt(known));
  }

  async #adopt(known: readonly Workload[]): Promise<void> {
    const { clock } = this.#o;
    const found = await adoptSandboxes(known, { ...this.#p, context: this.#context, logger: this.#o.logger });
    for (const { cell, ...state } of found) {
      const pool = this.#pool(cell.workload);
      this.#add(pool, cell);
      cell.adopt(state);
      if (cell.facts.ending) void cell.stop({ reason: 'Stopped' });
    }
    for (const pool of this.#pools.values()) pool.wantWhatIs();
    const exits = watchExits(this.#p.roots.exits, (id, code) => this.#cells.get(id)?.exited(code));
    let sweeping = false;
    let turn = 0;
    const context = { exits, logs: this.#logs, sandboxes: this.#p.sandboxes };
    const look = async () => {
      if (sweeping) return;
      sweeping = true;
      await sweep([...this.#cells.values()], turn++, context).catch((error: unknown) =>
        this.#o.logger.error({ error: messageOf(error) }, 'looking after instances failed'),
      );
      sweeping = false;
    };
    this.#running.push(
      exits,
      clock.every(sweepMs, () => void look()),
    );
  }

  async prepare(
    workload: Workload,
    options: { signal?: AbortSignal; onProgress?: PrepareProgress } = {},
  ): Promise<Prepared> {
    this.#open();
    const container = containerOf(workload);
    const settings = settingsOf(workload);
    // Before the image, which may take minutes: what is missing here is told at once.
    const references = await this.#references(workload);
    const policy = container.imagePullPolicy;
    const image = await this.#o.images.ensure(container.image, {
      ...options,
      ...(policy === 'Always' || policy === 'IfNotPresent' || policy === 'Never' ? { policy } : {}),
    });
    const process = await planProcess(workload, image);
    this.#open();
    this.#pool(workload).prepared({ image, process, settings }, references?.version);
    return { images: [{ name: container.name ?? 'user-container', digest: image.resolved }] };
  }

  scale(key: WorkloadKey, want: Scale): void {
    this.#open();
    const pool = this.#pools.get(key);
    if (!pool)
      throw new EbbError('WorkloadNotPrepared', 409, `revision ${key} is not prepared; prepare it before scaling it`);
    this.#grants = undefined;
    pool.scale(want);
    // Another workload's standby may have to make room; not before this start is on its way.
    this.#balanceSoon();
  }

  async renew(key: WorkloadKey): Promise<boolean> {
    const pool = this.#pools.get(key);
    if (!pool) return false;
    try {
      pool.renew((await this.#references(pool.workload))?.version);
      return true;
    } catch (error) {
      this.#o.logger.warn(
        { revision: key, error: messageOf(error) },
        'what its instances need has gone; none is renewed',
      );
      return false;
    }
  }

  async #references(workload: Workload): Promise<References | undefined> {
    if (referencesOf(workload.spec).length === 0) return undefined;
    if (this.#o.resolve) return this.#o.resolve(workload);
    throw new EbbError('ReferencesUnsupported', 422, 'this engine was given no access to Secrets and ConfigMaps');
  }

  async remove(key: WorkloadKey): Promise<void> {
    const pool = this.#pools.get(key);
    if (!pool) return;
    this.#pools.delete(key);
    this.#grants = undefined;
    await pool.close();
    this.#balanceSoon();
  }

  instances(key?: WorkloadKey): Instance[] {
    const all = [...this.#cells.values()].filter((cell) => cell.phase !== 'creating').map((cell) => cell.instance);
    return key === undefined ? all : all.filter((instance) => instance.workload === key);
  }

  on(listener: (event: EngineEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  logs(options: LogOptions): AsyncIterable<LogLine> {
    return readLogs(options, {
      files: this.#logs,
      containerOf: (id) => this.#cells.get(id)?.facts.container ?? 'user-container',
      onInstance: (listener) => this.on((event) => event.type === 'instance' && listener()),
      ended: this.#ended.signal,
    });
  }

  async stats(): Promise<InstanceStats[]> {
    const cells = [...this.#cells.values()].filter((cell) => cell.phase !== 'creating');
    const atMs = this.#o.clock.now();
    const usages = await Promise.all(cells.map((cell) => this.#p.cgroups.usage(cell.id)));
    return cells.flatMap((cell, i) => {
      const usage = usages[i];
      return usage ? [{ instance: cell.id, atMs, ...usage }] : [];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    for (const running of this.#running) running[Symbol.dispose]();
    for (const pool of this.#pools.values()) pool.letGo();
    for (const cell of this.#cells.values()) cell.letGo();
    await this.#p.network.close();
    this.#listeners.clear();
  }

  async shutdown(): Promise<void> {
    // Neither the clock's timers nor the watch for exits keep the process alive, and by now nothing else may.
    const alive = setInterval(() => undefined, 60_000);
    await this.#takeDown().finally(() => clearInterval(alive));
  }

  async #takeDown(): Promise<void> {
    this.#adopted ??= this.#adopt([]);
    await this.#adopted.catch((error: unknown) =>
      this.#o.logger.warn({ error: messageOf(error) }, 'shutting down what could not be adopted'),
    );
    await Promise.all([...this.#pools.keys()].map((key) => this.remove(key)));
    await Promise.all([...this.#cells.values()].map((cell) => cell.stop({ reason: 'Stopped' })));
    await this[Symbol.asyncDispose]();
    const { network, namespace, roots, cgroups } = this.#p;
    await network.destroy();
    await namespace.destroy();
    await cgroups.remove();
    for (const dir of [...Object.values(roots), join(this.#o.runDir, 'ns'), join(this.#o.runDir, 'subnet')])
      await rm(dir, { recursive: true, force: true });
  }

  #open(): void {
    if (this.#ended.signal.aborted) throw new EbbError('EngineStopped', 503, 'the engine is shutting down');
  }

  /** The pool of a workload; one of the same name and another uid is another workload, whose instances go. */
  #pool(workload: Workload): Pool {
    const key: WorkloadKey = `${workload.namespace}/${workload.revision}`;
    const there = this.#pools.get(key);
    if (there?.workload.uid === workload.uid) return there;
    if (there) void there.close();
    this.#grants = undefined;
    const pool = new Pool(workload, {
      context: this.#context,
      emit: (event) => this.#emit(event),
      room: () => (this.#o.maxInstances ?? defaultMaxInstances) - this.#cells.size,
      add: (cell) => this.#cells.set(cell.id, cell),
      standbyGrant: () => this.#granted().get(key) ?? 0,
    });
    this.#pools.set(key, pool);
    return pool;
  }

  #poolOf(cell: Cell): Pool | undefined {
    return this.#pools.get(cell.instance.workload)?.holding(cell);
  }

  #add(pool: Pool, cell: Cell): void {
    this.#cells.set(cell.id, cell);
    pool.adopt(cell);
  }

  #removed(cell: Cell): void {
    this.#cells.delete(cell.id);
    this.#emit({ type: 'removed', instance: cell.instance });
    this.#poolOf(cell)?.removed(cell);
    this.#balanceSoon();
    void this.#logs
      .retain({ ...cell.facts, instance: cell.id }, (id) => this.#cells.has(id))
      .catch((error: unknown) => this.#o.logger.warn({ error: messageOf(error) }, 'cannot clear away old logs'));
  }

  #granted(): Map<string, number> {
    return (this.#grants ??= this.#grant());
  }

  #grant(): Map<string, number> {
    const slots = standbySlots({
      budgetBytes: this.#o.standbyBudgetBytes ?? 256 * 2 ** 20,
      bytesEach: (this.#p.lean ? 2 : 10) * 2 ** 20,
      maxInstances: this.#o.maxInstances ?? defaultMaxInstances,
      wantedInstances: [...this.#pools.values()].reduce((sum, pool) => sum + pool.want.instances, 0),
    });
    const pools = [...this.#pools].map(([key, pool]) => ({
      key,
      wanted: pool.want.standby,
      lastUsedMs: pool.lastUsedMs,
    }));
    if (pools.reduce((sum, pool) => sum + pool.wanted, 0) <= slots) return new Map(pools.map((p) => [p.key, p.wanted]));
    return grantStandbys(pools, slots);
  }

  /** Room or budget may have become free, or short, for other workloads. */
  #balanceSoon(): void {
    if (this.#balancing) return;
    this.#balancing = true;
    setImmediate(() => {
      this.#balancing = false;
      if (this.#ended.signal.aborted) return;
      for (const pool of this.#pools.values()) if (pool.unsettled) pool.replan();
    });
  }

  #emit(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
