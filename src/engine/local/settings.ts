import { EbbError } from '../../platform/errors.ts';
import type { Workload } from '../engine.ts';
import { limitsOf, type Limits } from './limits.ts';
import { containerOf } from './process.ts';
import { parseDuration } from '../../platform/duration.ts';
import { quantityOf } from './quantity.ts';

/** What a workload's spec and annotations say about running it. */
export interface Settings {
  limits: Limits;
  /** Time to become ready, `serving.knative.dev/progress-deadline`; 600 s by default. */
  progressDeadlineMs: number;
  /** From the stop signal to SIGKILL, `ebb.dev/termination-grace-period`; 30 s by default. */
  graceMs: number;
  /** Longest wait for requests in flight: the request timeout. */
  drainMs: number;
  /** `ebb.dev/writable: memory|disk`, with `ebb.dev/writable-size` for the disk; 2Gi by default. */
  writable: { kind: 'memory' } | { kind: 'disk'; bytes: number };
}

const longestMs = 3_600_000;
const leastDiskBytes = 4 * 2 ** 20;
const mostDiskBytes = 2 ** 40;

/** Throws EbbError InvalidAnnotation, InvalidQuantity, MemoryLimitTooSmall, MultipleContainersUnsupported. */
export function settingsOf(workload: Workload): Settings {
  const { annotations } = workload;
  return {
    limits: limitsOf(containerOf(workload)),
    progressDeadlineMs: duration(annotations, 'serving.knative.dev/progress-deadline', 600_000),
    graceMs: duration(annotations, 'ebb.dev/termination-grace-period', 30_000),
    drainMs: Math.min(longestMs, (workload.spec.timeoutSeconds ?? 300) * 1000),
    writable: writableOf(annotations),
  };
}

function duration(annotations: Record<string, string>, name: string, otherwise: number): number {
  const text = annotations[name];
  if (text === undefined) return otherwise;
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0 || ms > longestMs)
    throw new EbbError(
      'InvalidAnnotation',
      422,
      `annotation ${name} is ${JSON.stringify(text.slice(0, 40))}; it must be a duration up to 1h such as 30s`,
    );
  return ms;
}

function writableOf(annotations: Record<string, string>): Settings['writable'] {
  const kind = annotations['ebb.dev/writable'] ?? 'memory';
  if (kind === 'memory') return { kind };
  const size = annotations['ebb.dev/writable-size'] ?? '2Gi';
  const bytes = kind === 'disk' ? Math.floor(quantityOf(size, 'annotation ebb.dev/writable-size')) : NaN;
  if (!(bytes >= leastDiskBytes && bytes <= mostDiskBytes))
    throw new EbbError(
      'InvalidAnnotation',
      422,
      kind === 'disk'
        ? `annotation ebb.dev/writable-size is ${size}; it must be from 4Mi to 1Ti`
        : `annotation ebb.dev/writable is ${JSON.stringify(kind.slice(0, 40))}; it must be memory or disk`,
    );
  return { kind: 'disk', bytes };
}
