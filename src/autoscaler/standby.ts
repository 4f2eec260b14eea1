export interface StandbyCandidate {
  revision: string;
  /** Has traffic. What no Route leads to gets no standby. */
  reachable: boolean;
  /** Monotonic milliseconds of the last request (or of its deployment). */
  lastUsedMs: number;
}

/**
 * Which revisions get a standby sandbox: one for each reachable revision, the most recently used first, until the
 * budget (a number of sandboxes) is spent. Ties go by name, so that the choice is stable.
 */
export function chooseStandbys(candidates: Iterable<StandbyCandidate>, budget: number): Set<string> {
  const reachable = [...candidates].filter((c) => c.reachable);
  if (reachable.length > budget) {
    reachable.sort((a, b) => b.lastUsedMs - a.lastUsedMs || (a.revision < b.revision ? -1 : 1));
  }
  return new Set(reachable.slice(0, Math.max(0, budget)).map((c) => c.revision));
}
