import { mkdir } from 'node:fs/promises';
import type { LocalImage } from '../../images/images.ts';
import type { Clock } from '../../platform/clock.ts';
import { EbbError, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Drain, ExitReport, Instance, InstanceState, References, Workload } from '../engine.ts';
import type { Cgroups } from './cgroup.ts';
import type { Gate } from './gate.ts';
import { describeExit, type EndCause } from './exit-report.ts';
import { writeFacts, type Facts } from './facts.ts';
import { watchHealth } from './health.ts';
import { diagnose, listenersOf } from './listeners.ts';
import type { LogFiles } from './log-files.ts';
import type { Network } from './network.ts';
import { ignoresSignal, isAlive, signalProcess, type ProcessRef } from './pid.ts';
import type { PlannedCell } from './pool-plan.ts';
import { commandAndEnvironment, containerOf, portOf, type ProcessPlan } from './process.ts';
import { signalNumber, type Sandboxes } from './sandbox.ts';
import type { Settings } from './settings.ts';
import { planVolumes } from './volumes.ts';

/** What instances need of the engine around them. */
export interface CellContext {
  sandboxes: Sandboxes;
  network: Network;
  cgroups: Cgroups;
  logs: LogFiles;
  clock: Clock;
  logger: Logger;
  drain: Drain;
  /** Undefined for a workload that refers to nothing. Throws as `ResolveReferences`. */
  references(workload: Workload): Promise<References | undefined>;
  /** Creating a sandbox keeps a processor busy for a while: only so many at a time. */
  creations: Gate;
  /** The cell has a new status. */
  changed(cell: Cell): void;
  /** It runs, but is not ready and here is why. */
  warned(cell: Cell, message: string): void;
  /** It ends by its own fault, and another will take its place. Comes before the status that says so. */
  failed(cell: Cell): void;
  /** Its process is gone, or it could not be made; `instance.status` says how. */
  ended(cell: Cell, exit: ExitReport): void;
  /** Every trace of it is gone. */
  removed(cell: Cell): void;
}

/** What a revision's instances are made of, from `prepare`. */
export interface Recipe {
  image: LocalImage;
  process: ProcessPlan;
  settings: Settings;
}

const sigkill = 9;
/** After SIGKILL the kernel may still have to write out or take apart; beyond this the sandbox is forced down. */
const killPatienceMs = 10_000;
const clearWarningMs = 3000;
const anyWarningMs = 10_000;

/** One instance from its sandbox's creation to the removal of its last trace. */
export class Cell {
  readonly id: string;
  readonly workload: Workload;
  readonly facts: Facts;
  readonly logPath: string;
  instance: Instance;
  phase: PlannedCell['phase'] = 'creating';
  process: ProcessRef | undefined;
  conmon: ProcessRef | undefined;
  /** Counted by the engine's sweep: looks at which the process was gone and no exit code there. */
  missed = 0;
  readonly #c: CellContext;
  readonly #settings: Settings;
  readonly #stopSignal: number;
  #cause: EndCause | undefined;
  #health: AbortController | undefined;
  #timers: Disposable[] = [];
  #startedMonotonic = 0;
  #readyMonotonic: number | undefined;
  #hasFailed = false;
  #exit: ExitReport | undefined;
  #exitSeen: (() => void) | undefined;
  readonly #exited: Promise<void>;
  #removing: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #creating: Promise<void> | undefined;

  constructor(
    context: CellContext,
    workload: Workload,
    facts: Facts,
    recipe: { settings: Settings; stopSignal: string },
  ) {
    this.#c = context;
    this.id = facts.id;
    this.workload = workload;
    this.facts = facts;
    this.logPath = context.logs.pathOf({ ...facts, instance: facts.id });
    this.#settings = recipe.settings;
    this.#stopSignal = signalNumber(recipe.stopSignal);
    this.#exited = new Promise((resolve) => (this.#exitSeen = resolve));
    this.instance = {
      id: facts.id,
      workload: `${workload.namespace}/${workload.revision}`,
      service: workload.service,
      address: facts.net > 0 ? { host: context.network.slotOf(facts.net).host, port: facts.port } : undefined,
      createdAtMs: facts.createdAtMs,
      startedAtMs: facts.startedAtMs,
      restarts: facts.restarts ?? 0,
      status: { state: 'standby' },
    };
  }

  get planned(): PlannedCell {
    return { id: this.id, phase: this.phase, startedAtMs: this.instance.startedAtMs ?? 0 };
  }

  /** Milliseconds since it was ready first; 0 when it never was. */
  get readyForMs(): number {
    return this.#readyMonotonic === undefined ? 0 : this.#c.clock.monotonic() - this.#readyMonotonic;
  }

  /** Makes the sandbox; the cell is a standby then, or has ended. */
  create(recipe: Recipe): Promise<void> {
    return (this.#creating = this.#c.creations.run(() => this.#create(recipe)));
  }

  async #create(recipe: Recipe): Promise<void> {
    const { sandboxes, network, logs } = this.#c;
    if (this.#stopping) return; // stopped while it waited for its turn
    try {
      const references = await this.#c.references(this.workload);
      if (references) this.facts.references = references.version;
      const dir = sandboxes.dirOf(this.id);
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const slot = await network.take();
      this.facts.net = slot.number;
      // Before anything of the kernel: whatever happens from here on, the next process knows of it.
      await writeFacts(dir, this.facts);
      await logs.prepare({ ...this.facts, instance: this.id });
      const created = await sandboxes.create({
        id: this.id,
        image: recipe.image,
        process: references ? { ...recipe.process, ...this.#processOf(references, recipe.image) } : recipe.process,
        container: containerOf(this.workload),
        volumes: planVolumes(this.workload, recipe.settings, references?.files),
        limits: recipe.settings.limits,
        writable: recipe.settings.writable,
        slot,
        logPath: this.logPath,
      });
      this.process = created.process;
      this.conmon = created.conmon;
      this.instance = { ...this.instance, address: { host: slot.host, port: this.facts.port } };
      if (this.phase !== 'creating') return; // stopped while it was made: stop() takes it apart
      this.phase = 'standby';
      this.#change({ state: 'standby' });
    } catch (error) {
      if (this.phase === 'ending') return;
      this.phase = 'ending';
      const config = error instanceof EbbError && /^Reference(Missing|Invalid)$/.test(error.code);
      const reason = config ? 'CreateContainerConfigError' : 'Error';
      const exit = await this.#report({ code: 128, reason, message: messageOf(error) });
      this.#finish(exit);
    }
  }

  #processOf(references: References, image: LocalImage) {
    const name = containerOf(this.workload).name ?? '';
    return commandAndEnvironment(this.workload, image, references.env.get(name) ?? []);
  }

  /** Takes over a sandbox of a former process in the state in which it was found. */
  adopt(found: { process: ProcessRef; conmon: ProcessRef | undefined; running: boolean }): void {
    this.process = found.process;
    this.conmon = found.conmon;
    if (!found.running) {
      this.phase = 'standby';
      this.#change({ state: 'standby' });
      return;
    }
    this.#begin(this.facts.startedAtMs ?? this.#c.clock.now());
    // It was ready and there is no sign of a change: requests go on while its probes start again.
    if (this.facts.readyAtMs !== undefined) this.#ready();
  }

  /**
   * Starts a standby. Everything up to the spawning of the runtime happens in this tick.
   * @param restarts how many failed in its place before it
   */
  start(restarts: number): void {
    if (restarts > 0) this.facts.restarts = restarts;
    this.instance = { ...this.instance, restarts };
    const started = this.#c.sandboxes.start(this.id);
    this.#begin(this.#c.clock.now());
    started.catch((error: unknown) => this.#end({ code: 128, reason: 'Error', message: messageOf(error) }));
  }

  #begin(startedAtMs: number): void {
    this.phase = 'starting';
    this.#startedMonotonic = this.#c.clock.monotonic();
    this.facts.startedAtMs = startedAtMs;
    this.instance = { ...this.instance, startedAtMs };
    this.#change({ state: 'starting', sinceMs: startedAtMs });
    this.#watch();
    this.#remember();
  }

  #watch(): void {
    const { clock, sandboxes } = this.#c;
    const { address } = this.instance;
    if (!address) return;
    const health = new AbortController();
    this.#health = health;
    const container = containerOf(this.workload);
    watchHealth(
      container,
      { ...address, exec: (command, timeoutMs) => sandboxes.exec(this.id, command, timeoutMs) },
      clock,
      {
        ready: () => this.#ready(),
        notReady: () => {
          if (this.phase !== 'ready') return;
          this.phase = 'starting';
          this.#change({ state: 'starting', sinceMs: clock.now() });
        },
        dead: (probe) => this.#dead(probe),
      },
      health.signal,
    );
    this.#timers.push(
      clock.after(clearWarningMs, () => void this.#warn(false)),
      clock.after(anyWarningMs, () => void this.#warn(true)),
      clock.after(this.#settings.progressDeadlineMs, () => void this.#deadline()),
    );
  }

  #ready(): void {
    if (this.phase !== 'starting') return;
    this.#clearTimers();
    this.phase = 'ready';
    this.#readyMonotonic ??= this.#c.clock.monotonic();
    this.facts.readyAtMs = this.#c.clock.now();
    this.#change({ state: 'ready', sinceMs: this.facts.readyAtMs });
    this.#remember();
  }

  async #warn(evenIfUnclear: boolean): Promise<void> {
    const why = await this.#whyNotReady();
    if (this.phase !== 'starting' || (why === undefined && !evenIfUnclear)) return;
    const waitedS = Math.round((this.#c.clock.monotonic() - this.#startedMonotonic) / 1000);
    this.#c.warned(this, `not ready after ${waitedS} s: ${why ?? this.#unclear()}`);
  }

  async #whyNotReady(): Promise<string | undefined> {
    if (!this.process) return undefined;
    return diagnose(await listenersOf(this.process.pid), portOf(containerOf(this.workload)));
  }

  #unclear(): string {
    const { readinessProbe } = containerOf(this.workload);
    const custom = readinessProbe?.httpGet ?? readinessProbe?.exec ?? readinessProbe?.grpc;
    return custom ? 'its readiness probe does not pass' : `nothing listens on port ${this.facts.port}`;
  }

  async #deadline(): Promise<void> {
    const why = (await this.#whyNotReady()) ?? this.#unclear();
    if (this.phase !== 'starting') return;
    this.#failed();
    const seconds = Math.round(this.#settings.progressDeadlineMs / 1000);
    const message = `not ready within ${seconds} s: ${why}`;
    // Told now: its end may take as long as its grace period.
    this.#c.warned(this, message);
    await this.stop({ reason: 'StartTimeout', message });
  }

  #dead(probe: 'startup' | 'liveness'): void {
    const container = containerOf(this.workload);
    const times = (probe === 'startup' ? container.startupProbe : container.livenessProbe)?.failureThreshold ?? 3;
    this.#failed();
    const message = `its ${probe} probe failed ${times} times in a row`;
    void this.stop({ reason: probe === 'startup' ? 'StartTimeout' : 'LivenessFailed', message });
  }

  /**
   * Drains, sends the stop signal, after the grace period SIGKILL, and removes the sandbox. Resolves when every trace
   * is gone. Calls after the first wait for the same end.
   */
  stop(cause: EndCause): Promise<void> {
    return (this.#stopping ??= this.#stop(cause));
  }

  async #stop(cause: EndCause): Promise<void> {
    const { clock, drain, logger } = this.#c;
    if (this.#exit) return this.#removing;
    this.#cause ??= cause;
    const was = this.phase;
    this.phase = 'ending';
    this.#clearTimers();
    this.#health?.abort();
    this.facts.ending = true;
    this.#remember();
    // What is half made can't be taken apart: it would go on growing.
    await this.#creating;
    if (was === 'creating' || was === 'standby') return this.#remove();
    if (was === 'ready') {
      this.#change({ state: 'draining', sinceMs: clock.now() });
      const bound = new AbortController();
      const { promise: waitedEnough, resolve } = Promise.withResolvers<void>();
      using _timer = clock.after(this.#settings.drainMs, () => (bound.abort(), resolve()));
      await Promise.race([drain(this.instance, bound.signal), this.#exited, waitedEnough]).catch((error: unknown) =>
        logger.warn({ instance: this.id, error: messageOf(error) }, 'draining failed; stopping all the same'),
      );
    }
    if (!this.#exit) {
      this.#change({ state: 'stopping', sinceMs: clock.now() });
      await this.#terminate();
    }
    await this.#remove();
  }

  async #terminate(): Promise<void> {
    const { clock } = this.#c;
    const ref = this.process;
    if (ref) {
      // No handler: the kernel drops the signal, waiting would be for nothing.
      const futile = ignoresSignal(ref, this.#stopSignal);
      signalProcess(ref, futile ? sigkill : this.#stopSignal);
      using _kill = clock.after(this.#settings.graceMs, () => signalProcess(ref, sigkill));
      const patience = new Promise<void>((resolve) => {
        this.#timers.push(clock.after(this.#settings.graceMs + killPatienceMs, resolve));
      });
      await Promise.race([this.#exited, patience]);
    }
    this.#clearTimers();
    if (!this.#exit) this.exited(undefined);
    await this.#exited;
  }

  /** The process has ended; `code` is undefined when nobody saw how. */
  exited(code: number | undefined): void {
    if (this.#exit || this.phase === 'creating' || this.phase === 'standby') {
      if (this.phase === 'standby') void this.stop({ reason: 'Lost', message: 'its sandbox was killed' });
      return;
    }
    void this.#c.cgroups
      .oomKills(this.id)
      .then((oomKills) =>
        this.#end(describeExit({ code, oomKills, memoryBytes: this.#settings.limits.memoryBytes, cause: this.#cause })),
      );
  }

  async #end(words: Pick<ExitReport, 'code' | 'reason' | 'message'>): Promise<void> {
    const exit = await this.#report(words);
    if (this.#exit) return;
    if (exit.reason !== 'Stopped' && exit.reason !== 'Lost') this.#failed();
    this.phase = 'ending';
    this.#finish(exit);
  }

  #failed(): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#c.failed(this);
  }

  async #report(words: Pick<ExitReport, 'code' | 'reason' | 'message'>): Promise<ExitReport> {
    const lastLogLines = await this.#c.logs.lastLines(this.logPath, 20).catch(() => []); // unreadable: do without
    return { ...words, lastLogLines, atMs: this.#c.clock.now() };
  }

  #finish(exit: ExitReport): void {
    this.#exit = exit;
    this.#clearTimers();
    this.#health?.abort();
    this.#change({ state: 'exited', exit });
    this.#exitSeen?.();
    this.#c.ended(this, exit);
    void this.#remove();
  }

  #remove(): Promise<void> {
    this.#removing ??= this.#c.sandboxes
      .destroy(this.id, this.facts.net > 0 ? this.facts.net : undefined)
      .catch((error: unknown) =>
        this.#c.logger.error({ instance: this.id, error: messageOf(error) }, 'cannot remove a sandbox'),
      )
      .then(() => this.#c.removed(this));
    return this.#removing;
  }

  /** Whether its process is there; false for one that is not made yet. */
  get alive(): boolean {
    return this.process !== undefined && isAlive(this.process);
  }

  /** Stops following the instance; it goes on running. */
  letGo(): void {
    this.#clearTimers();
    this.#health?.abort();
  }

  #change(status: InstanceState): void {
    this.instance = { ...this.instance, status };
    this.#c.changed(this);
  }

  #remember(): void {
    void writeFacts(this.#c.sandboxes.dirOf(this.id), this.facts).catch((error: unknown) =>
      this.#c.logger.warn({ instance: this.id, error: messageOf(error) }, 'cannot note down the state of an instance'),
    );
  }

  #clearTimers(): void {
    for (const timer of this.#timers.splice(0)) timer[Symbol.dispose]();
  }
}
