import { randomInt } from 'node:crypto';
import type { EngineEvent, ExitReport, Scale, Workload, WorkloadKey } from '../engine.ts';
import { Succession } from '../succession.ts';
import { backoffMs, stableMs } from './backoff.ts';
import { Cell, type CellContext, type Recipe } from './cell.ts';
import { planPool } from './pool-plan.ts';
import { containerOf, portOf } from './process.ts';

export interface PoolOptions {
  context: CellContext;
  emit(event: EngineEvent): void;
  /** Sandboxes that may still be added on this machine. */
  room(): number;
  add(cell: Cell): void;
  /** Standbys that the budget grants this workload. */
  standbyGrant(): number;
}

/** Standbys wait this long for an instance that has just been started: its start has the processors to itself. */
const settleMs = 1000;
const noScale: Scale = { instances: 0, standby: 0 };

/** The instances of one workload, kept at the wanted number. */
export class Pool {
  readonly workload: Workload;
  readonly #o: PoolOptions;
  readonly #cells = new Map<string, Cell>();
  readonly #succession = new Succession();
  want: Scale = noScale;
  lastUsedMs = 0;
  #recipe: Recipe | undefined;
  #failures = 0;
  #retryAtMs = 0;
  #timer: Disposable | undefined;
  #closed = false;
  /** Nobody has said yet how many there should be: what was adopted is left alone. */
  #unasked = true;
  #planning = false;
  #again = false;

  constructor(workload: Workload, options: PoolOptions) {
    this.workload = workload;
    this.#o = options;
  }

  /** This pool, if the cell is one of its own and not of a former workload of the same name. */
  holding(cell: Cell): Pool | undefined {
    return this.#cells.get(cell.id) === cell ? this : undefined;
  }

  /** What instances are made of from now on. */
  prepared(recipe: Recipe, references: string | undefined): void {
    this.#recipe = recipe;
    this.#discardOlder(references);
    this.replan();
  }

  /** What the workload refers to has changed, and this is its version now. */
  renew(references: string | undefined): void {
    this.#failures = 0;
    this.#retryAtMs = 0;
    this.#discardOlder(references);
    this.replan();
  }

  #discardOlder(references: string | undefined): void {
    for (const cell of this.#cells.values()) {
      const unstarted = cell.phase === 'standby' || cell.phase === 'creating';
      const of = cell.facts.references;
      // One being made that has no version yet has still to ask what it is made of.
      if (unstarted && of !== undefined && of !== references) void cell.stop({ reason: 'Stopped' });
    }
  }

  scale(want: Scale): void {
    this.want = { instances: Math.max(0, Math.floor(want.instances)), standby: Math.max(0, Math.floor(want.standby)) };
    this.#unasked = false;
    if (this.want.instances > 0) this.lastUsedMs = this.#o.context.clock.now();
    this.replan();
  }

  adopt(cell: Cell): void {
    this.#cells.set(cell.id, cell);
  }

  /** After adoption, until the caller says what it wants: as many as were found. */
  wantWhatIs(): void {
    const phases = [...this.#cells.values()].map((cell) => cell.phase);
    const standby = phases.filter((phase) => phase === 'standby').length;
    this.want = { instances: phases.filter((p) => p === 'starting' || p === 'ready').length, standby };
    this.#unasked = false;
    this.lastUsedMs = this.#o.context.clock.now();
  }

  /** Not as many are there as should be: a change elsewhere may matter. */
  get unsettled(): boolean {
    let running = 0;
    let standbys = 0;
    for (const { phase } of this.#cells.values()) {
      if (phase === 'starting' || phase === 'ready') running++;
      else if (phase !== 'ending') standbys++;
    }
    const target = Math.min(this.want.standby, this.#o.standbyGrant());
    return running !== this.want.instances || standbys !== target;
  }

  /** Observes, plans, acts. Called on every change; a call from within its own actions is made after them. */
  replan(): void {
    if (this.#planning) {
      this.#again = true;
      return;
    }
    this.#planning = true;
    do {
      this.#again = false;
      this.#plan();
    } while (this.#again);
    this.#planning = false;
  }

  #plan(): void {
    if (this.#closed || this.#unasked) return;
    const nowMs = this.#o.context.clock.now();
    const actions = planPool({
      want: this.want,
      cells: [...this.#cells.values()].map((cell) => cell.planned),
      nowMs,
      retryAtMs: this.#retryAtMs,
      settleMs,
      standbyGrant: this.#o.standbyGrant(),
      room: this.#o.room(),
    });
    const running = [...this.#cells.values()].filter((c) => c.phase === 'starting' || c.phase === 'ready').length;
    this.#succession.limit(this.want.instances - running);
    for (const id of actions.start) this.#cells.get(id)?.start(this.#succession.next());
    for (const id of actions.stop) void this.#cells.get(id)?.stop({ reason: 'Stopped' });
    for (const id of actions.discard) void this.#cells.get(id)?.stop({ reason: 'Stopped' });
    for (let i = 0; i < actions.create; i++) this.#create();
    if (actions.lookAgainAtMs !== undefined) this.#lookAgain(actions.lookAgainAtMs - nowMs);
  }

  #lookAgain(ms: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#o.context.clock.after(Math.max(1, ms), () => this.replan());
  }

  #create(): void {
    // Adopted and not prepared yet: `prepare` comes here again.
    if (!this.#recipe) return;
    const { workload } = this;
    const container = containerOf(workload);
    const cell = new Cell(
      this.#o.context,
      workload,
      {
        version: 1,
        id: newId(workload.revision),
        namespace: workload.namespace,
        service: workload.service,
        revision: workload.revision,
        uid: workload.uid,
        container: container.name ?? 'user-container',
        port: portOf(container),
        net: 0,
        createdAtMs: this.#o.context.clock.now(),
      },
      { settings: this.#recipe.settings, stopSignal: this.#recipe.process.stopSignal },
    );
    this.#cells.set(cell.id, cell);
    this.#o.add(cell);
    // Rejects for nothing: its failures are its end.
    void cell.create(this.#recipe);
  }

  warned(cell: Cell, message: string): void {
    const { clock, logger, logs } = this.#o.context;
    logger.warn({ revision: this.#key, instance: cell.id }, message);
    void logs.lastLines(cell.logPath, 20).then((lastLogLines) => {
      const exit: ExitReport = { code: 0, reason: 'StartTimeout', message, lastLogLines, atMs: clock.now() };
      this.#failing(exit, clock.now());
    });
  }

  failed(cell: Cell): void {
    this.#succession.failed(cell.instance.restarts);
  }

  ended(cell: Cell, exit: ExitReport): void {
    const { clock, logger } = this.#o.context;
    logger.info({ revision: this.#key, instance: cell.id, code: exit.code, reason: exit.reason }, exit.message);
    if (exit.reason !== 'Stopped' && exit.reason !== 'Lost') {
      // What ran well for long has not failed to start: it is replaced at once.
      this.#failures = cell.readyForMs >= stableMs ? 0 : this.#failures + 1;
      this.#retryAtMs = clock.now() + backoffMs(this.#failures);
      this.#failing(exit, this.#retryAtMs);
    }
    this.replan();
  }

  removed(cell: Cell): void {
    this.#cells.delete(cell.id);
    this.replan();
  }

  /** Drains and stops everything; resolves when every trace is gone. */
  async close(): Promise<void> {
    this.letGo();
    await Promise.all([...this.#cells.values()].map((cell) => cell.stop({ reason: 'Stopped' })));
  }

  /** Ends the pool's own work; instances go on running. */
  letGo(): void {
    this.#closed = true;
    this.#timer?.[Symbol.dispose]();
  }

  get #key(): WorkloadKey {
    return `${this.workload.namespace}/${this.workload.revision}`;
  }

  #failing(exit: ExitReport, retryAtMs: number): void {
    if (!this.#closed)
      this.#o.emit({ type: 'failing', workload: this.#key, exit, failures: this.#failures, retryAtMs });
  }
}

/**
 * `<revision>-deployment-<random>`, the pattern of Knative's Pods that people and its own tests look for, cut to a DNS
 * label: 40 bits beside a revision's name do not come twice.
 */
function newId(revision: string): string {
  const random = Array.from({ length: 8 }, () => randomInt(32).toString(32)).join('');
  return `${`${revision}-deployment`.slice(0, 54).replace(/[-.]+$/, '')}-${random}`;
}
