import type { Condition } from '../resources/index.ts';

/** A condition before it is known when it last changed. */
export type Verdict = Omit<Condition, 'type' | 'lastTransitionTime'>;

export const yes: Verdict = { status: 'True' };

export function no(reason: string, message: string): Verdict {
  return { status: 'False', reason, message };
}

export function unknown(reason: string, message: string): Verdict {
  return { status: 'Unknown', reason, message };
}

/**
 * The conditions of a status: the given ones and `Ready`, which is False with the reason of the first that is False, else
 * Unknown with that of the first that is not True, else True. Severity Info doesn't count. Sorted by type, as Knative
 * does; `lastTransitionTime` moves only when a condition's status does.
 *
 * @param verdicts in the order in which their reasons matter
 * @param now RFC 3339
 */
export function conditionsOf(
  previous: readonly Condition[] | undefined,
  verdicts: Record<string, Verdict>,
  now: string,
): Condition[] {
  return Object.entries({ ...verdicts, Ready: readyOf(Object.values(verdicts)) })
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([type, verdict]) => {
      const before = previous?.find((c) => c.type === type);
      const same = before?.status === verdict.status ? before.lastTransitionTime : undefined;
      return { type, ...verdict, lastTransitionTime: same ?? now };
    });
}

function readyOf(verdicts: Verdict[]): Verdict {
  const counting = verdicts.filter((v) => !v.severity);
  const worst = counting.find((v) => v.status === 'False') ?? counting.find((v) => v.status === 'Unknown');
  if (!worst) return yes;
  return {
    status: worst.status,
    ...(worst.reason === undefined ? {} : { reason: worst.reason }),
    ...(worst.message === undefined ? {} : { message: worst.message }),
  };
}

type WithConditions = { status?: { conditions?: Condition[] } } | undefined;

export function conditionOf(object: WithConditions, type: string): Condition | undefined {
  return object?.status?.conditions?.find((c) => c.type === type);
}

/** The status of `Ready`; Unknown where nothing is said. */
export function readiness(object: WithConditions): Condition['status'] {
  return conditionOf(object, 'Ready')?.status ?? 'Unknown';
}

/** A condition as a verdict on something else: status, reason and message, no more. */
export function propagated(condition: Condition): Verdict {
  const { status, reason, message } = condition;
  return { status, ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}
