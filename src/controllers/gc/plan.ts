import type { Revision } from '../../resources/index.ts';
import { keys } from '../names.ts';

/** Knative's `config-gc`; undefined switches a rule off. */
export interface GcSettings {
  /** Only what was created longer ago than this is deleted ... */
  sinceCreateMs: number | undefined;
  /** ... and has been in reserve for longer than this. */
  sinceActiveMs: number | undefined;
  /** This many non-active ones are always kept. */
  minNonActive: number;
  /** Beyond this many non-active ones the oldest go whatever their age. */
  maxNonActive: number | undefined;
}

const hourMs = 3_600_000;

export const knativeGc: GcSettings = {
  sinceCreateMs: 48 * hourMs,
  sinceActiveMs: 15 * hourMs,
  minNonActive: 20,
  maxNonActive: 1000,
};

export interface GcPlan {
  /** Oldest first. */
  remove: Revision[];
  /** When the next one may become due, milliseconds since the epoch; undefined: not before something changes. */
  nextAtMs: number | undefined;
}

/**
 * Which revisions of one Configuration to delete: those in reserve that are neither its latest ready or latest created
 * one nor marked `serving.knative.dev/no-gc: "true"`, least recently active first.
 */
export function planGc(
  revisions: readonly Revision[],
  kept: readonly (string | undefined)[],
  nowMs: number,
  settings: GcSettings = knativeGc,
): GcPlan {
  const candidates = revisions
    .filter((r) => isCandidate(r, kept))
    .map((revision) => ({ revision, createdMs: createdOf(revision), activeMs: lastActiveOf(revision) }))
    .sort((a, b) => a.activeMs - b.activeMs || (a.revision.metadata.name < b.revision.metadata.name ? -1 : 1));
  const remove: Revision[] = [];
  let nextAtMs: number | undefined;
  let left = candidates.length;
  for (const { revision, createdMs, activeMs } of candidates) {
    if (left <= settings.minNonActive) break;
    const dueMs =
      settings.sinceCreateMs === undefined && settings.sinceActiveMs === undefined
        ? Number.POSITIVE_INFINITY
        : Math.max(createdMs + (settings.sinceCreateMs ?? 0), activeMs + (settings.sinceActiveMs ?? 0));
    const tooMany = settings.maxNonActive !== undefined && left > settings.maxNonActive;
    if (nowMs > dueMs || tooMany) {
      remove.push(revision);
      left--;
    } else if (dueMs < (nextAtMs ?? Number.POSITIVE_INFINITY)) nextAtMs = dueMs;
  }
  return { remove, nextAtMs };
}

function isCandidate(revision: Revision, kept: readonly (string | undefined)[]): boolean {
  const { name, labels, annotations, deletionTimestamp } = revision.metadata;
  return (
    labels?.[keys.routingState] === 'reserve' &&
    annotations?.[keys.noGc] !== 'true' &&
    deletionTimestamp === undefined &&
    !kept.includes(name)
  );
}

function createdOf(revision: Revision): number {
  return timeOf(revision.metadata.creationTimestamp) ?? 0;
}

function lastActiveOf(revision: Revision): number {
  return timeOf(revision.metadata.annotations?.[keys.routingStateModified]) ?? createdOf(revision);
}

function timeOf(text: string | undefined): number | undefined {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}
