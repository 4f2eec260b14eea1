import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import {
  activationScale,
  decide,
  floorOf,
  newMemory,
  tickMs,
  type Decision,
  type Observation,
  type ScalerMemory,
} from './decide.ts';
import type { ScalingSettings } from './settings.ts';
import { chooseStandbys } from './standby.ts';
import { MetricWindow } from './windows.ts';

/** What the gateway counted for one revision in one period. */
export interface LoadReport {
  /** `namespace/name`. */
  revision: string;
  /** Time-weighted average of requests in flight and queued. */
  concurrency: number;
  /** Ended in the period. */
  requests: number;
  queued: number;
  inFlight: number;
}

export interface ScalerState {
  /** A Route leads here: minScale and the initial scale hold, and a standby is kept. */
  reachable: boolean;
  /** The initial scale was reached before (by a former process, say). */
  initialDone?: boolean;
  /** Instances that run already: a revision adopted with some keeps them until there is data against it. */
  ready?: number;
  starting?: number;
}

/** What the autoscaler thinks of one revision, for `describe` and for metrics. */
export interface ScalerView {
  desired: number;
  standby: number;
  ready: number;
  starting: number;
  reachable: boolean;
  /** Averages of the metric over the two windows. */
  stable: number;
  panic: number;
  panicking: boolean;
  idleMs: number;
  /** No reports: nothing is decided until they come again. */
  frozen: boolean;
  /** Why the last decision was as it was; undefined before the first. */
  because: Decision['because'] | undefined;
  settings: ScalingSettings;
}

export interface AutoscalerOptions {
  clock: Clock;
  logger: Logger;
  /** Carries a decision out. Called synchronously, only when something changed. Must not throw. */
  scale: (revision: string, want: { instances: number; standby: number }) => void;
  config: {
    /** Standby sandboxes in all. */
    standbyBudget: number;
  };
}

/**
 * Keeps every revision at its scale. Raising from zero happens inside {@link Autoscaler.activate}, in the same tick;
 * everything else is decided every two seconds over the revisions that run. None running: no timer, no work.
 */
export interface Autoscaler extends Disposable {
  /** Starts or goes on scaling a revision. Idempotent. */
  upsert(revision: string, settings: ScalingSettings, state: ScalerState): void;
  /** Forgets a revision; whoever calls stops its instances. */
  remove(revision: string): void;
  /**
   * Whether reports can come. While they can't, decisions are frozen: no news from a gateway is no reason to stop
   * anything. When they can again, idleness and windows are counted from that moment.
   */
  gateway(connected: boolean): void;
  /** Reports for a period of `periodMs` that ends now. */
  stats(periodMs: number, reports: readonly LoadReport[]): void;
  /** `queued` requests wait and nothing is ready. */
  activate(revision: string, queued: number): void;
  observed(revision: string, instances: { ready: number; starting: number }): void;
  describe(revision: string): ScalerView | undefined;
}

interface Scaler {
  readonly revision: string;
  settings: ScalingSettings;
  reachable: boolean;
  initialDone: boolean;
  desired: number;
  standby: boolean;
  ready: number;
  starting: number;
  /** Only while something is wanted: a revision at zero costs no window. */
  window: MetricWindow | undefined;
  memory: ScalerMemory;
  /** In flight and queued at the last report. */
  busy: number;
  lastReportMs: number;
  lastUsedMs: number;
  /** Since when instances are wanted and none has become ready. */
  activatingSinceMs: number | undefined;
  because: Decision['because'] | undefined;
}

/** Reports of a busy revision come every second; without one for this long nothing is known of it. */
const staleMs = 5000;
/** Standby sandboxes are handed round at most this often. */
const rebalanceMs = 1000;

export function createAutoscaler(options: AutoscalerOptions): Autoscaler {
  const { clock, logger } = options;
  const budget = options.config.standbyBudget;
  const scalers = new Map<string, Scaler>();
  const running = new Set<Scaler>();
  let standbys = 0;
  let connected = false;
  let ticking: Disposable | undefined;
  let rebalancing: Disposable | undefined;

  function tell(scaler: Scaler): void {
    options.scale(scaler.revision, { instances: scaler.desired, standby: scaler.standby ? 1 : 0 });
  }

  /** Changes what is wanted; true if it did. */
  function want(scaler: Scaler, desired: number): boolean {
    if (scaler.desired === desired) return false;
    const nowMs = clock.monotonic();
    if (scaler.desired === 0) {
      scaler.window = startWindow(scaler.settings, nowMs);
      // A scale from zero to more than one is a burst: hold it through a stable window, as in panic.
      scaler.memory = newMemory(nowMs, desired);
      if (scaler.ready === 0) scaler.activatingSinceMs = nowMs;
      running.add(scaler);
    }
    logger.debug({ revision: scaler.revision, from: scaler.desired, to: desired, because: scaler.because }, 'scaled');
    scaler.desired = desired;
    if (desired === 0) {
      scaler.window = undefined;
      scaler.memory = newMemory(nowMs, 0);
      scaler.activatingSinceMs = undefined;
      running.delete(scaler);
    }
    setTicking();
    return true;
  }

  function setTicking(): void {
    const needed = connected && running.size > 0;
    if (needed) ticking ??= clock.every(tickMs, tick);
    else {
      ticking?.[Symbol.dispose]();
      ticking = undefined;
    }
  }

  function tick(): void {
    const nowMs = clock.monotonic();
    for (const scaler of [...running]) {
      if (isStale(scaler, nowMs)) continue;
      const decision = decide(scaler.settings, observe(scaler, nowMs), scaler.memory);
      scaler.memory = decision.memory;
      scaler.because = decision.because;
      const desired = activationFailed(scaler, nowMs) ? 0 : decision.desired;
      if (want(scaler, desired)) tell(scaler);
    }
  }

  function activationFailed(scaler: Scaler, nowMs: number): boolean {
    if (scaler.activatingSinceMs === undefined || scaler.settings.minScale > 0) return false;
    const failed = nowMs - scaler.activatingSinceMs > scaler.settings.activationTimeoutMs;
    if (failed) logger.warn({ revision: scaler.revision }, 'activation given up: nothing became ready');
    return failed;
  }

  function activate(scaler: Scaler, queued: number): void {
    const nowMs = clock.monotonic();
    const desired = Math.max(scaler.desired, activationScale(scaler.settings, queued));
    const changed = want(scaler, desired);
    // Nothing but this call stands between a waiting request and its instance.
    if (changed) tell(scaler);
    if (changed && desired > 1) {
      scaler.memory = { panicSinceMs: nowMs, panicFloor: desired, recent: scaler.memory.recent };
    }
    scaler.lastUsedMs = nowMs;
    scaler.lastReportMs = nowMs;
    scaler.busy = Math.max(scaler.busy, queued);
    if (!scaler.standby && scaler.reachable) rebalanceSoon();
  }

  function setStandby(scaler: Scaler, standby: boolean): boolean {
    if (scaler.standby === standby) return false;
    scaler.standby = standby;
    standbys += standby ? 1 : -1;
    return true;
  }

  function rebalanceSoon(): void {
    rebalancing ??= clock.after(rebalanceMs, () => {
      rebalancing = undefined;
      const chosen = chooseStandbys(scalers.values(), budget);
      for (const scaler of scalers.values()) if (setStandby(scaler, chosen.has(scaler.revision))) tell(scaler);
    });
  }

  function report(scaler: Scaler, periodMs: number, load: LoadReport): void {
    const nowMs = clock.monotonic();
    scaler.lastReportMs = nowMs;
    scaler.busy = load.inFlight + load.queued;
    if (scaler.busy > 0 || load.concurrency > 0 || load.requests > 0) scaler.lastUsedMs = nowMs;
    const seconds = periodMs / 1000;
    scaler.window?.add(nowMs, scaler.settings.metric === 'rps' ? load.requests : load.concurrency * seconds);
    if (load.queued > 0 && scaler.ready === 0) activate(scaler, load.queued);
  }

  return {
    upsert(revision, settings, state) {
      const nowMs = clock.monotonic();
      const known = scalers.get(revision);
      const scaler = known ?? newScaler(revision, settings, state, nowMs);
      scalers.set(revision, scaler);
      if (settings.stableWindowMs !== scaler.settings.stableWindowMs && scaler.window) {
        scaler.window = startWindow(settings, nowMs);
      }
      scaler.settings = settings;
      scaler.reachable = state.reachable;
      scaler.initialDone ||= state.initialDone ?? false;

      const roomy = standbys < budget;
      const standbyChanged = setStandby(scaler, state.reachable && (scaler.standby || roomy));
      if (state.reachable ? !scaler.standby : standbyChanged) rebalanceSoon();
      const existing = known ? scaler.desired : scaler.ready + scaler.starting;
      const changed = want(scaler, Math.max(existing, floorOf(settings, scaler)));
      if (changed || standbyChanged || !known) tell(scaler);
    },

    remove(revision) {
      const scaler = scalers.get(revision);
      if (!scaler) return;
      scalers.delete(revision);
      running.delete(scaler);
      if (setStandby(scaler, false)) rebalanceSoon();
      setTicking();
    },

    gateway(now) {
      connected = now;
      if (now) {
        const nowMs = clock.monotonic();
        for (const scaler of running) {
          scaler.lastUsedMs = nowMs;
          scaler.busy = 0;
          scaler.window = startWindow(scaler.settings, nowMs);
          scaler.memory = newMemory(nowMs, scaler.desired);
        }
      }
      setTicking();
    },

    stats(periodMs, reports) {
      for (const load of reports) {
        const scaler = scalers.get(load.revision);
        if (scaler) report(scaler, periodMs, load);
      }
    },

    activate(revision, queued) {
      const scaler = scalers.get(revision);
      if (scaler) activate(scaler, queued);
      else logger.debug({ revision, queued }, 'activation of a revision that is not deployed');
    },

    observed(revision, { ready, starting }) {
      const scaler = scalers.get(revision);
      if (!scaler) return;
      scaler.ready = ready;
      scaler.starting = starting;
      if (ready > 0) scaler.activatingSinceMs = undefined;
      if (!scaler.initialDone && ready >= Math.max(1, scaler.settings.initialScale)) {
        scaler.initialDone = true;
        // From here on it has to prove itself idle, however long it took to come up.
        scaler.lastUsedMs = clock.monotonic();
      }
    },

    describe(revision) {
      const scaler = scalers.get(revision);
      return scaler && view(scaler, clock.monotonic(), connected);
    },

    [Symbol.dispose]() {
      ticking?.[Symbol.dispose]();
      rebalancing?.[Symbol.dispose]();
      scalers.clear();
      running.clear();
    },
  };
}

function newScaler(revision: string, settings: ScalingSettings, state: ScalerState, nowMs: number): Scaler {
  return {
    revision,
    settings,
    reachable: state.reachable,
    initialDone: state.initialDone ?? settings.initialScale === 0,
    desired: 0,
    standby: false,
    ready: state.ready ?? 0,
    starting: state.starting ?? 0,
    window: undefined,
    memory: newMemory(nowMs, 0),
    busy: 0,
    lastReportMs: nowMs,
    lastUsedMs: nowMs,
    activatingSinceMs: undefined,
    because: undefined,
  };
}

function startWindow(settings: ScalingSettings, nowMs: number): MetricWindow {
  const window = new MetricWindow(settings.stableWindowMs);
  window.add(nowMs, 0);
  return window;
}

/** Busy when last heard of, and not heard of since. */
function isStale(scaler: Scaler, nowMs: number): boolean {
  return scaler.busy > 0 && nowMs - scaler.lastReportMs > staleMs;
}

function observe(scaler: Scaler, nowMs: number): Observation {
  const { settings, window } = scaler;
  return {
    nowMs,
    stable: window?.average(nowMs, settings.stableWindowMs) ?? 0,
    panic: window?.average(nowMs, settings.panicWindowMs) ?? 0,
    ready: scaler.ready,
    busy: scaler.busy,
    idleMs: nowMs - scaler.lastUsedMs,
    reachable: scaler.reachable,
    initialDone: scaler.initialDone,
  };
}

function view(scaler: Scaler, nowMs: number, connected: boolean): ScalerView {
  const seen = observe(scaler, nowMs);
  return {
    desired: scaler.desired,
    standby: scaler.standby ? 1 : 0,
    ready: scaler.ready,
    starting: scaler.starting,
    reachable: scaler.reachable,
    stable: seen.stable,
    panic: seen.panic,
    panicking: scaler.memory.panicSinceMs !== undefined,
    idleMs: seen.idleMs,
    frozen: !connected || isStale(scaler, nowMs),
    because: scaler.because,
    settings: scaler.settings,
  };
}
