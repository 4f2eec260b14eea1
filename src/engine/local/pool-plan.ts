import type { Scale } from '../engine.ts';

/** A sandbox as the plan sees it. */
export interface PlannedCell {
  id: string;
  phase: 'creating' | 'standby' | 'starting' | 'ready' | 'ending';
  /** When its process was started; 0 before. */
  startedAtMs: number;
}

export interface PoolView {
  want: Scale;
  cells: readonly PlannedCell[];
  nowMs: number;
  /** Nothing is started or created before this. */
  retryAtMs: number;
  /** Standby sandboxes that the budget grants this workload; at most `want.standby` are made. */
  standbyGrant: number;
  /** Sandboxes that may still be added on this machine. */
  room: number;
  /** No standby is created within this time of a start: the start has the processors to itself. */
  settleMs: number;
}

export interface PoolActions {
  start: string[];
  create: number;
  /** Running instances to drain and stop. */
  stop: string[];
  /** Standbys to take apart. */
  discard: string[];
  /** When time alone will change the plan. */
  lookAgainAtMs: number | undefined;
}

/**
 * What to do so that a workload has the wanted number of running instances and of standbys. Pure.
 *
 * Instances are started from standbys at once; what is missing is created, becomes a standby and is started by the next
 * plan. A failing workload waits for its back-off, but what runs is let run. Fewer: those not ready first, then the
 * ones started last (the oldest have the warmest caches).
 */
export function planPool(view: PoolView): PoolActions {
  const standbys = view.cells.filter((c) => c.phase === 'standby');
  const creating = view.cells.filter((c) => c.phase === 'creating').length;
  const running = view.cells.filter((c) => c.phase === 'starting' || c.phase === 'ready');
  const waiting = view.nowMs < view.retryAtMs;

  const surplus = Math.max(0, running.length - view.want.instances);
  const stop = running.toSorted(leastWorthFirst).slice(0, surplus);

  const missing = Math.max(0, view.want.instances - running.length);
  const start = waiting ? [] : standbys.slice(0, missing);

  const spare = standbys.slice(start.length);
  const unstarted = missing - start.length;
  const needed = unstarted + Math.min(view.want.standby, view.standbyGrant);
  const settledAtMs = Math.max(
    0,
    ...running.filter((c) => c.phase === 'starting').map((c) => c.startedAtMs + view.settleMs),
  );
  const settling = start.length > 0 || (view.nowMs < settledAtMs && settledAtMs - view.nowMs <= view.settleMs);
  const toCreate = Math.max(0, (settling ? unstarted : needed) - spare.length - creating);
  const create = waiting ? 0 : Math.max(0, Math.min(view.room, toCreate));
  // Those being created count as standbys already: better to take one apart than to keep two.
  const tooMany = Math.max(0, Math.min(spare.length, spare.length + creating - needed));
  const lacking = needed > spare.length + creating || missing > 0;
  const later = waiting ? view.retryAtMs : start.length > 0 ? view.nowMs + view.settleMs : settledAtMs;
  return {
    start: start.map((c) => c.id),
    create,
    stop: stop.map((c) => c.id),
    discard: spare.slice(spare.length - tooMany).map((c) => c.id),
    lookAgainAtMs: lacking && (waiting || settling) ? later : undefined,
  };
}

function leastWorthFirst(a: PlannedCell, b: PlannedCell): number {
  if (a.phase !== b.phase) return a.phase === 'starting' ? -1 : 1;
  return b.startedAtMs - a.startedAtMs || (a.id < b.id ? -1 : 1);
}

/**
 * How many standbys there may be: what the budget pays for, and never so many that instances which are wanted find no
 * room on this machine. Pure.
 */
export function standbySlots(view: {
  budgetBytes: number;
  bytesEach: number;
  maxInstances: number;
  /** Running instances wanted, of all workloads together. */
  wantedInstances: number;
}): number {
  const paidFor = Math.floor(view.budgetBytes / view.bytesEach);
  return Math.max(0, Math.min(paidFor, view.maxInstances - view.wantedInstances));
}

/**
 * Shares the budget for standbys: most recently used workloads first, one each before anyone gets a second.
 * Returns the grants by key. Pure.
 */
export function grantStandbys(
  workloads: readonly { key: string; wanted: number; lastUsedMs: number }[],
  slots: number,
): Map<string, number> {
  const order = workloads.toSorted((a, b) => b.lastUsedMs - a.lastUsedMs || (a.key < b.key ? -1 : 1));
  const grants = new Map<string, number>(order.map(({ key }) => [key, 0]));
  let left = Math.max(0, slots);
  for (let round = 1; left > 0; round++) {
    const takers = order.filter((w) => w.wanted >= round).slice(0, left);
    if (takers.length === 0) break;
    for (const { key } of takers) grants.set(key, round);
    left -= takers.length;
  }
  return grants;
}
