import { messageOf } from '../platform/errors.ts';

/** What a check found: one sentence, and what to do about it unless all is well. */
export type Verdict =
  { state: 'ok'; message: string; fix?: undefined } | { state: 'warn' | 'fail'; message: string; fix: string };

/** One thing that Ebb needs. `warn` means that Ebb runs, though not as well as it could. */
export interface Check {
  /** Stable, for scripts. */
  id: string;
  /** In a word or two, for the list. */
  what: string;
  run(signal: AbortSignal): Promise<Verdict> | Verdict;
}

export type Finding = { id: string; what: string } & Verdict;

/** Runs all checks at once; the findings come in the order of the checks. A check that throws counts as failed. */
export function runChecks(checks: readonly Check[], signal: AbortSignal): Promise<Finding[]> {
  return Promise.all(
    checks.map(async ({ id, what, run }): Promise<Finding> => {
      try {
        return { id, what, ...(await run(signal)) };
      } catch (error) {
        return {
          id,
          what,
          state: 'fail',
          message: `the check itself failed: ${messageOf(error)}`,
          fix: 'see the message',
        };
      }
    }),
  );
}

export const ok = (message: string): Verdict => ({ state: 'ok', message });
export const warn = (message: string, fix: string): Verdict => ({ state: 'warn', message, fix });
export const fail = (message: string, fix: string): Verdict => ({ state: 'fail', message, fix });
