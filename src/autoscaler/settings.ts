import { parseDuration } from '../platform/duration.ts';

/** How one revision scales: annotations over the configuration's defaults, every value within Knative's bounds. */
export interface ScalingSettings {
  metric: 'concurrency' | 'rps';
  /** What one instance should take at most, in the metric's unit. */
  total: number;
  /** What the autoscaler aims at: `total` times the utilisation, at least 0.01. */
  target: number;
  minScale: number;
  /** 0: no limit. */
  maxScale: number;
  /** Acts as minScale until it has been reached once. */
  initialScale: number;
  /** The least that a scale from zero starts, and that any non-zero scale is lifted to. */
  activationScale: number;
  stableWindowMs: number;
  panicWindowMs: number;
  /** Panic when the panic window wants this many times what is ready: 2 is 200 %. */
  panicThreshold: number;
  maxScaleUpRate: number;
  maxScaleDownRate: number;
  scaleDownDelayMs: number;
  /** The last instance goes when no request has been seen for this long; undefined: it stays. */
  idleToZeroMs: number | undefined;
  /** An activation that has made nothing ready for this long is given up. */
  activationTimeoutMs: number;
}

/** Knative's `config-autoscaler`: what holds where a revision says nothing. */
export interface AutoscalerDefaults {
  /** Fraction of the target that the autoscaler aims at. */
  targetUtilization: number;
  concurrencyTarget: number;
  rpsTarget: number;
  stableWindowMs: number;
  /** Percent of the stable window. */
  panicWindowPercentage: number;
  panicThresholdPercentage: number;
  maxScaleUpRate: number;
  maxScaleDownRate: number;
  enableScaleToZero: boolean;
  scaleToZeroGraceMs: number;
  podRetentionMs: number;
  initialScale: number;
  minScale: number;
  maxScale: number;
  progressDeadlineMs: number;
}

export const knativeDefaults: AutoscalerDefaults = {
  targetUtilization: 0.7,
  concurrencyTarget: 100,
  rpsTarget: 200,
  stableWindowMs: 60_000,
  panicWindowPercentage: 10,
  panicThresholdPercentage: 200,
  maxScaleUpRate: 1000,
  maxScaleDownRate: 2,
  enableScaleToZero: true,
  scaleToZeroGraceMs: 30_000,
  podRetentionMs: 0,
  initialScale: 1,
  minScale: 0,
  maxScale: 0,
  progressDeadlineMs: 600_000,
};

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
/** Knative gives up an activation this long after the progress deadline. */
const activationSlackMs = 30_000;
/** Beyond what one autoscaler should ever ask for; a limit against slips of the pen. */
const maxInstances = 100_000;

/**
 * Reads a revision's annotations (`autoscaling.knative.dev/`, dashed or camelCase). What is absent, unreadable or out of
 * Knative's bounds falls back to the default: the API server refuses such values before they get here.
 *
 * Scale to zero: Knative takes the last instance once the stable window is empty and the grace (or the retention
 * period, if longer) has passed too: 90 s after the last request by default. `ebb.dev/scale-to-zero-after: 10s` states
 * that whole time directly (1 s to 24 h) and leaves the windows alone, so that scaling between N and 1 stays calm.
 *
 * @param annotations the Revision's
 * @param spec `containerConcurrency`: 0 or absent is no limit
 */
export function settingsOf(
  annotations: Readonly<Record<string, string>>,
  spec: { containerConcurrency?: number | undefined },
  defaults: AutoscalerDefaults = knativeDefaults,
): ScalingSettings {
  const read = reader(annotations);
  const metric = read.text('metric') === 'rps' ? 'rps' : 'concurrency';
  const limit = spec.containerConcurrency ?? 0;
  const wanted = read.number('target', 0.01, 1_000_000);
  const total = metric === 'rps' ? (wanted ?? defaults.rpsTarget) : concurrencyTotal(wanted, limit, defaults);
  const utilization = (read.number('target-utilization-percentage', 1, 100) ?? defaults.targetUtilization * 100) / 100;

  const stableWindowMs = read.duration('window', 6000, hourMs) ?? defaults.stableWindowMs;
  const panicPercentage = read.number('panic-window-percentage', 1, 100) ?? defaults.panicWindowPercentage;
  const maxScale = read.integer('max-scale', 0) ?? defaults.maxScale;
  const atMost = (n: number) => (maxScale > 0 ? Math.min(n, maxScale) : n);
  const retentionMs = read.duration('scale-to-zero-pod-retention-period', 0, hourMs) ?? defaults.podRetentionMs;
  const deadlineMs = durationOf(annotations['serving.knative.dev/progress-deadline'], 1000, 24 * hourMs);

  return {
    metric,
    total,
    target: Math.max(0.01, total * utilization),
    minScale: atMost(read.integer('min-scale', 0) ?? defaults.minScale),
    maxScale,
    initialScale: atMost(read.integer('initial-scale', 0) ?? defaults.initialScale),
    activationScale: atMost(Math.max(1, read.integer('activation-scale', 2) ?? 1)),
    stableWindowMs,
    panicWindowMs: Math.max(1000, Math.round((stableWindowMs * panicPercentage) / 100)),
    panicThreshold: (read.number('panic-threshold-percentage', 110, 1000) ?? defaults.panicThresholdPercentage) / 100,
    maxScaleUpRate: defaults.maxScaleUpRate,
    maxScaleDownRate: defaults.maxScaleDownRate,
    scaleDownDelayMs: read.duration('scale-down-delay', 0, hourMs) ?? 0,
    idleToZeroMs: defaults.enableScaleToZero
      ? (durationOf(annotations['ebb.dev/scale-to-zero-after'], 1000, 24 * hourMs) ??
        stableWindowMs + Math.max(defaults.scaleToZeroGraceMs, retentionMs))
      : undefined,
    activationTimeoutMs: (deadlineMs ?? defaults.progressDeadlineMs) + activationSlackMs,
  };
}

/** Knative: the annotation (never above the container's own limit), else the limit, else the configured target. */
function concurrencyTotal(wanted: number | undefined, limit: number, defaults: AutoscalerDefaults): number {
  if (wanted !== undefined) return limit > 0 ? Math.min(wanted, limit) : wanted;
  return limit > 0 ? limit : defaults.concurrencyTarget;
}

function reader(annotations: Readonly<Record<string, string>>) {
  const text = (name: string): string | undefined =>
    annotations[`autoscaling.knative.dev/${name}`] ?? annotations[`autoscaling.knative.dev/${camelCase(name)}`];
  const number = (name: string, min: number, max: number): number | undefined => {
    const value = text(name);
    if (value === undefined || !/^\d+(\.\d+)?$/.test(value)) return undefined;
    const n = Number(value);
    return n >= min && n <= max ? n : undefined;
  };
  return {
    text,
    number,
    integer: (name: string, min: number): number | undefined => {
      const n = number(name, min, maxInstances);
      return n !== undefined && Number.isInteger(n) ? n : undefined;
    },
    duration: (name: string, minMs: number, maxMs: number) => durationOf(text(name), minMs, maxMs),
  };
}

const camelCase = (name: string): string => name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());

function durationOf(text: string | undefined, minMs: number, maxMs: number): number | undefined {
  const ms = text === undefined ? undefined : parseDuration(text);
  return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined;
}
