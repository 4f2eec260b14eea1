import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import type {
  Drain,
  Engine,
  EngineEvent,
  ExitReport,
  Instance,
  InstanceState,
  InstanceStats,
  LogLine,
  LogOptions,
  Prepared,
  Scale,
  Workload,
  WorkloadKey,
} from './engine.ts';
import { Succession } from './succession.ts';

export interface FakeEngineOptions {
  clock: Clock;
  drain?: Drain;
  /** Started instances become ready by themselves, after the call that started them. True unless set. */
  autoReady?: boolean;
}

interface FakeCell {
  instance: Instance;
  uid: string;
}

/**
 * An engine in memory for tests of what stands above it: it keeps the contract of {@link Engine}, runs nothing, and
 * does what the test says: `makeReady`, `crash`, `failPrepare`, `print`.
 */
export class FakeEngine implements Engine {
  readonly name = 'fake';
  readonly runtime = 'none';
  /** Last wanted scale of each workload. */
  readonly wanted = new Map<WorkloadKey, Scale>();
  /** Every workload that was prepared, by key. */
  readonly prepared = new Map<WorkloadKey, Workload>();
  /** What {@link adopt} was called with. */
  adopted: readonly Workload[] | undefined;
  autoReady: boolean;
  readonly #clock: Clock;
  readonly #drain: Drain;
  readonly #cells = new Map<string, FakeCell>();
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  readonly #prepareErrors = new Map<string, EbbError>();
  readonly #lines: { line: LogLine; workload: WorkloadKey; service: string }[] = [];
  readonly #successions = new Map<WorkloadKey, Succession>();
  readonly #stopping = new Map<string, Promise<void>>();
  #made = 0;
  #ended = false;

  constructor(options: FakeEngineOptions) {
    this.#clock = options.clock;
    this.#drain = options.drain ?? (() => Promise.resolve());
    this.autoReady = options.autoReady ?? true;
  }

  /** Makes `prepare` of workloads with this image fail, until called with undefined. */
  failPrepare(image: string, error: EbbError | undefined): void {
    if (error) this.#prepareErrors.set(image, error);
    else this.#prepareErrors.delete(image);
  }

  /** A starting instance passes its readiness probe. */
  makeReady(id: string): void {
    const cell = this.#cells.get(id);
    if (cell?.instance.status.state === 'starting') this.#set(cell, { state: 'ready', sinceMs: this.#clock.now() });
  }

  /** A ready instance fails its readiness probe. */
  makeNotReady(id: string): void {
    const cell = this.#cells.get(id);
    if (cell?.instance.status.state === 'ready') this.#set(cell, { state: 'starting', sinceMs: this.#clock.now() });
  }

  /** The instance's process ends by itself; it is replaced unless `replace` is false. Emits `failing`. */
  crash(id: string, exit: Partial<ExitReport> = {}, options: { replace?: boolean; failures?: number } = {}): void {
    const cell = this.#cells.get(id);
    if (!cell) throw new Error(`no instance ${id}`);
    const atMs = this.#clock.now();
    const report = {
      code: 1,
      reason: 'Error' as const,
      message: 'exited with code 1',
      lastLogLines: [],
      atMs,
      ...exit,
    };
    if (cell.instance.startedAtMs !== undefined)
      this.#successionOf(cell.instance.workload).failed(cell.instance.restarts);
    this.#set(cell, { state: 'exited', exit: report });
    const workload = cell.instance.workload;
    this.#emit({ type: 'failing', workload, exit: report, failures: options.failures ?? 1, retryAtMs: atMs });
    this.#forget(cell);
    if (options.replace ?? true) this.#converge(workload);
  }

  /** Emits any event, such as a `failing` of a workload that can't be started at all. */
  emit(event: EngineEvent): void {
    this.#emit(event);
  }

  /** The instance prints a line. */
  print(id: string, text: string): void {
    const instance = this.#cells.get(id)?.instance;
    if (!instance) throw new Error(`no instance ${id}`);
    const time = new Date(this.#clock.now()).toISOString();
    const line: LogLine = { instance: id, container: 'user-container', time, stream: 'stdout', text };
    this.#lines.push({ line, workload: instance.workload, service: instance.service });
  }

  adopt(known: readonly Workload[]): Promise<void> {
    this.adopted = known;
    return Promise.resolve();
  }

  async prepare(workload: Workload, options: { signal?: AbortSignal } = {}): Promise<Prepared> {
    options.signal?.throwIfAborted();
    for (const { image } of workload.spec.containers) {
      const error = this.#prepareErrors.get(image);
      if (error) throw error;
    }
    const key: WorkloadKey = `${workload.namespace}/${workload.revision}`;
    const before = this.prepared.get(key);
    this.prepared.set(key, workload);
    if (before && before.uid !== workload.uid) {
      this.wanted.delete(key);
      for (const cell of this.#of(key)) void this.#stop(cell);
    }
    const digest = (image: string) => `${image.split('@')[0]}@sha256:${'0'.repeat(64)}`;
    return {
      images: workload.spec.containers.map((c) => ({ name: c.name ?? 'user-container', digest: digest(c.image) })),
    };
  }

  scale(key: WorkloadKey, want: Scale): void {
    if (this.#ended) throw new EbbError('EngineStopped', 503, 'the engine is shutting down');
    if (!this.prepared.has(key))
      throw new EbbError('WorkloadNotPrepared', 409, `revision ${key} is not prepared; prepare it before scaling it`);
    this.wanted.set(key, want);
    this.#converge(key);
  }

  async renew(key: WorkloadKey): Promise<boolean> {
    if (!this.prepared.has(key)) return false;
    const standbys = this.#of(key).filter((cell) => cell.instance.status.state === 'standby');
    await Promise.all(standbys.map((cell) => this.#stop(cell)));
    this.#converge(key);
    return true;
  }

  async remove(key: WorkloadKey): Promise<void> {
    this.prepared.delete(key);
    this.wanted.delete(key);
    await Promise.all(this.#of(key).map((cell) => this.#stop(cell)));
  }

  instances(key?: WorkloadKey): Instance[] {
    const all = [...this.#cells.values()].map((cell) => cell.instance);
    return key === undefined ? all : all.filter((instance) => instance.workload === key);
  }

  on(listener: (event: EngineEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async *logs(options: LogOptions): AsyncGenerator<LogLine> {
    const { of } = options;
    const lines = this.#lines
      .filter(({ line, workload, service }) => {
        if ('workload' in of) return workload === of.workload;
        if ('instance' in of) return line.instance === of.instance;
        return service === of.service && workload.startsWith(`${of.namespace}/`);
      })
      .map(({ line }) => line)
      .filter((line) => options.sinceMs === undefined || Date.parse(line.time) >= options.sinceMs);
    yield* options.tailLines === undefined ? lines : lines.slice(lines.length - options.tailLines);
  }

  stats(): Promise<InstanceStats[]> {
    const atMs = this.#clock.now();
    return Promise.resolve(
      this.instances().map(({ id }) => ({ instance: id, atMs, cpuNanos: 0, memoryBytes: 0, pids: 1 })),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    this.#listeners.clear();
    return Promise.resolve();
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.#cells.values()].map((cell) => this.#stop(cell)));
    await this[Symbol.asyncDispose]();
  }

  #successionOf(key: WorkloadKey): Succession {
    const there = this.#successions.get(key) ?? new Succession();
    this.#successions.set(key, there);
    return there;
  }

  #of(key: WorkloadKey): FakeCell[] {
    return [...this.#cells.values()].filter((cell) => cell.instance.workload === key);
  }

  #converge(key: WorkloadKey): void {
    const want = this.wanted.get(key);
    const workload = this.prepared.get(key);
    if (!want || !workload || this.#ended) return;
    const own = this.#of(key).filter((cell) => cell.uid === workload.uid && !this.#stopping.has(cell.instance.id));
    const running = own.filter(({ instance: { status } }) => status.state === 'starting' || status.state === 'ready');
    const standbys = own.filter(({ instance: { status } }) => status.state === 'standby');
    const order = (cell: FakeCell) => (cell.instance.status.state === 'starting' ? 0 : 1);
    const youngestFirst = running.toReversed().sort((a, b) => order(a) - order(b));
    for (const cell of youngestFirst.slice(0, Math.max(0, running.length - want.instances))) void this.#stop(cell);
    this.#successionOf(key).limit(want.instances - running.length);
    for (let i = running.length; i < want.instances; i++) this.#start(standbys.shift() ?? this.#create(workload));
    for (let i = standbys.length; i < want.standby; i++) this.#create(workload);
    for (const cell of standbys.slice(want.standby)) void this.#stop(cell);
  }

  #create(workload: Workload): FakeCell {
    const number = ++this.#made;
    const cell: FakeCell = {
      uid: workload.uid,
      instance: {
        id: `${workload.revision}-${number.toString(36).padStart(5, '0')}`,
        workload: `${workload.namespace}/${workload.revision}`,
        service: workload.service,
        address: {
          host: `127.100.${(number >> 8) & 255}.${number & 255}`,
          port: workload.spec.containers[0]?.ports?.[0]?.containerPort ?? 8080,
        },
        createdAtMs: this.#clock.now(),
        startedAtMs: undefined,
        restarts: 0,
        status: { state: 'standby' },
      },
    };
    this.#cells.set(cell.instance.id, cell);
    this.#set(cell, { state: 'standby' });
    return cell;
  }

  #start(cell: FakeCell): void {
    const now = this.#clock.now();
    const restarts = this.#successionOf(cell.instance.workload).next();
    cell.instance = { ...cell.instance, startedAtMs: now, restarts };
    this.#set(cell, { state: 'starting', sinceMs: now });
    if (this.autoReady) queueMicrotask(() => this.makeReady(cell.instance.id));
  }

  #stop(cell: FakeCell): Promise<void> {
    const { id } = cell.instance;
    const there = this.#stopping.get(id);
    if (there) return there;
    const stopped = this.#end(cell).finally(() => this.#stopping.delete(id));
    this.#stopping.set(id, stopped);
    return stopped;
  }

  async #end(cell: FakeCell): Promise<void> {
    const now = () => this.#clock.now();
    if (cell.instance.status.state === 'ready') {
      this.#set(cell, { state: 'draining', sinceMs: now() });
      await this.#drain(cell.instance, new AbortController().signal);
    }
    if (!this.#cells.has(cell.instance.id)) return; // crashed while draining
    this.#set(cell, { state: 'stopping', sinceMs: now() });
    const exit: ExitReport = { code: 143, reason: 'Stopped', message: 'stopped', lastLogLines: [], atMs: now() };
    this.#set(cell, { state: 'exited', exit });
    this.#forget(cell);
  }

  #forget(cell: FakeCell): void {
    this.#cells.delete(cell.instance.id);
    this.#emit({ type: 'removed', instance: cell.instance });
  }

  #set(cell: FakeCell, status: InstanceState): void {
    cell.instance = { ...cell.instance, status };
    this.#emit({ type: 'instance', instance: cell.instance });
  }

  #emit(event: EngineEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
