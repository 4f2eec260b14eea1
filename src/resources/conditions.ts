import type { Condition } from './meta.ts';
import { timestamp } from './time.ts';

/** A condition as a reconciler states it; the time of the last transition is worked out here. */
export type NewCondition = Omit<Condition, 'lastTransitionTime'>;

export function getCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}

export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return getCondition(conditions, type)?.status === 'True';
}

/** The conditions with this one set, sorted by type; lastTransitionTime moves only when something of it changes. */
export function setCondition(conditions: readonly Condition[], next: NewCondition, nowMs: number): Condition[] {
  const current = getCondition(conditions, next.type);
  const same =
    current !== undefined &&
    current.status === next.status &&
    current.reason === next.reason &&
    current.message === next.message &&
    (current.severity ?? '') === (next.severity ?? '');
  const lastTransitionTime = (same && current.lastTransitionTime) || timestamp(nowMs);
  const others = conditions.filter((c) => c.type !== next.type);
  return [...others, { ...next, lastTransitionTime }].sort((a, b) => (a.type < b.type ? -1 : 1));
}

/**
 * Ready from the conditions that it depends on (knative.dev/pkg/apis, condition_set.go): False as soon as one is False,
 * Unknown while one is Unknown or not there yet, else True. Reason and message are those of the deciding condition:
 * the one that changed last. Conditions of severity Info or Warning don't count.
 */
export function readyOf(conditions: readonly Condition[], dependents: readonly string[], type = 'Ready'): NewCondition {
  const counting = dependents.map((d) => getCondition(conditions, d) ?? ({ type: d, status: 'Unknown' } as Condition));
  const deciding = (['False', 'Unknown'] as const)
    .map((status) => counting.filter((c) => (c.severity ?? '') === '' && c.status === status).sort(newestFirst)[0])
    .find((c) => c !== undefined);
  if (!deciding) return { type, status: 'True' };
  const { status, reason, message } = deciding;
  return { type, status, ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}

function newestFirst(a: Condition, b: Condition): number {
  return (b.lastTransitionTime ?? '').localeCompare(a.lastTransitionTime ?? '');
}
