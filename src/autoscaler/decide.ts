import type { ScalingSettings } from './settings.ts';

/** What the decision needs to remember from one time to the next. Never changed in place. */
export interface ScalerMemory {
  /** Last time that the panic window was over its threshold; undefined outside of panic. */
  panicSinceMs: number | undefined;
  /** The most that was wanted in this panic: while it lasts nothing goes below. */
  panicFloor: number;
  /** Wanted scales within the scale-down delay, oldest first, at most one for each tick. */
  recent: readonly { atMs: number; desired: number }[];
}

export interface Observation {
  nowMs: number;
  /** Averages of the metric over the stable and the panic window. */
  stable: number;
  panic: number;
  /** Instances that take requests. */
  ready: number;
  /** In flight and queued at the last report: never scaled to zero over these. */
  busy: number;
  /** Since no request has been seen; 0 while there are any. */
  idleMs: number;
  /** A Route leads here. */
  reachable: boolean;
  /** The initial scale has been reached once. */
  initialDone: boolean;
}

export interface Decision {
  desired: number;
  panicking: boolean;
  memory: ScalerMemory;
  /** Why, for people. */
  because:
    'load' | 'panic' | 'min-scale' | 'max-scale' | 'initial-scale' | 'idle' | 'last-instance' | 'scale-down-delay';
}

/** Decisions are made this often; the scale-down delay is kept at this grain. */
export const tickMs = 2000;

/** A scaler that begins with more than one instance begins in panic: it never scales down before it has data. */
export function newMemory(nowMs: number, instances: number): ScalerMemory {
  return instances > 1
    ? { panicSinceMs: nowMs, panicFloor: instances, recent: [] }
    : { panicSinceMs: undefined, panicFloor: 0, recent: [] };
}

/**
 * Knative's pod autoscaler as one pure step: how many instances there should be now.
 *
 * The wanted number of each window is its average over the target, within the scale-up and -down rates. Where the panic
 * window wants at least `panicThreshold` times what is ready, panic begins: the larger of the two windows counts and
 * nothing goes down until a whole stable window has passed without crossing the threshold. Bounds come last
 * (maxScale always holds; minScale and the initial scale only for what is reachable or new), then the last instance:
 * it goes once nothing has been seen for `idleToZeroMs`.
 */
export function decide(settings: ScalingSettings, seen: Observation, memory: ScalerMemory): Decision {
  const ready = Math.max(1, seen.ready);
  const wantStable = Math.ceil(seen.stable / settings.target);
  const wantPanic = Math.ceil(seen.panic / settings.target);
  const stable = lift(settings, withinRates(settings, seen.reachable, ready, wantStable));
  const panic = lift(settings, withinRates(settings, seen.reachable, ready, wantPanic));

  const next = panicked(settings, seen.nowMs, wantPanic / ready >= settings.panicThreshold, memory);
  const panicking = next.panicSinceMs !== undefined;
  let because: Decision['because'] = 'load';
  let desired = stable;
  if (panicking) {
    desired = Math.max(stable, panic, next.panicFloor);
    if (desired > stable) because = 'panic';
  }
  const panicFloor = panicking ? desired : 0;

  const recent = seen.reachable ? slide(settings, seen.nowMs, desired, memory.recent) : [];
  const delayed = Math.max(desired, ...recent.map((r) => r.desired));
  if (delayed > desired) because = 'scale-down-delay';

  const bounded = bound(settings, seen, delayed, because);
  return { ...bounded, panicking, memory: { panicSinceMs: next.panicSinceMs, panicFloor, recent } };
}

/**
 * How many to start for what waits in a queue, from zero and at once: enough to serve all of it, within maxScale.
 * Utilisation is left out: these requests are there, nothing is predicted.
 */
export function activationScale(settings: ScalingSettings, queued: number): number {
  const perInstance = settings.metric === 'concurrency' ? settings.total : Number.POSITIVE_INFINITY;
  const needed = Math.max(1, Math.ceil(queued / perInstance), settings.activationScale, settings.minScale);
  return atMost(settings, needed);
}

/** What must run whatever the load: nothing for a revision that no Route leads to. */
export function floorOf(settings: ScalingSettings, seen: { reachable: boolean; initialDone: boolean }): number {
  if (!seen.reachable) return 0;
  return seen.initialDone ? settings.minScale : Math.max(settings.minScale, settings.initialScale);
}

function idleLongEnough(settings: ScalingSettings, idleMs: number): boolean {
  return settings.idleToZeroMs !== undefined && idleMs >= Math.max(settings.idleToZeroMs, settings.scaleDownDelayMs);
}

function withinRates(settings: ScalingSettings, reachable: boolean, ready: number, want: number): number {
  const up = Math.ceil(settings.maxScaleUpRate * ready);
  const down = reachable ? Math.floor(ready / settings.maxScaleDownRate) : 0;
  return Math.min(Math.max(want, down), up);
}

function lift(settings: ScalingSettings, want: number): number {
  return want > 0 ? Math.max(want, settings.activationScale) : want;
}

function panicked(
  settings: ScalingSettings,
  nowMs: number,
  over: boolean,
  memory: ScalerMemory,
): { panicSinceMs: number | undefined; panicFloor: number } {
  if (over) return { panicSinceMs: nowMs, panicFloor: memory.panicSinceMs === undefined ? 0 : memory.panicFloor };
  const ended = memory.panicSinceMs === undefined || memory.panicSinceMs + settings.stableWindowMs < nowMs;
  return ended
    ? { panicSinceMs: undefined, panicFloor: 0 }
    : { panicSinceMs: memory.panicSinceMs, panicFloor: memory.panicFloor };
}

function slide(
  settings: ScalingSettings,
  nowMs: number,
  desired: number,
  recent: ScalerMemory['recent'],
): ScalerMemory['recent'] {
  if (settings.scaleDownDelayMs === 0) return [];
  // What is smaller than the newest value can never be the maximum again: the list stays falling and short.
  const kept = recent.filter((r) => r.atMs + settings.scaleDownDelayMs > nowMs && r.desired > desired);
  return [...kept, { atMs: nowMs, desired }];
}

function bound(
  settings: ScalingSettings,
  seen: Observation,
  wanted: number,
  because: Decision['because'],
): Pick<Decision, 'desired' | 'because'> {
  const floor = floorOf(settings, seen);
  if (floor === 0 && seen.busy === 0 && idleLongEnough(settings, seen.idleMs)) return { desired: 0, because: 'idle' };
  const capped = atMost(settings, wanted);
  if (capped < floor) {
    return { desired: atMost(settings, floor), because: seen.initialDone ? 'min-scale' : 'initial-scale' };
  }
  if (capped < wanted) return { desired: capped, because: 'max-scale' };
  return capped === 0 ? { desired: 1, because: 'last-instance' } : { desired: capped, because };
}

function atMost(settings: ScalingSettings, n: number): number {
  return settings.maxScale > 0 ? Math.min(n, settings.maxScale) : n;
}
