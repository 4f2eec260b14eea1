import { knativeDefaults, type AutoscalerDefaults } from '../autoscaler/settings.ts';
import type { ControlOptions } from '../platform/options.ts';

/** Memory of all standby sandboxes together, unless `--standby-budget` says otherwise. */
export const defaultStandbyBudgetBytes = 256 * 2 ** 20;
/** Of one standby: crun's 0.85 MB and conmon's 1 MB (PSS, measured), rounded up. The engine holds runc's to the same budget. */
const standbyBytes = 2 * 2 ** 20;

/** Cloud Run's default. Knative has none, but there a cluster's nodes are the bound: here it is one machine's memory. */
const defaultMaxScale = 100;

/** How many standbys the budget pays for. */
export function standbyCount(options: Pick<ControlOptions, 'standbyBudgetBytes'>): number {
  return Math.floor((options.standbyBudgetBytes ?? defaultStandbyBudgetBytes) / standbyBytes);
}

/** Knative's defaults, with `--scale-to-zero-after` in place of its grace period for whoever says nothing else. */
export function scalerDefaults(options: Pick<ControlOptions, 'scaleToZeroAfterMs'>): AutoscalerDefaults {
  const defaults = { ...knativeDefaults, maxScale: defaultMaxScale };
  const after = options.scaleToZeroAfterMs;
  if (after === undefined) return defaults;
  const stableWindowMs = Math.min(knativeDefaults.stableWindowMs, Math.max(6000, after));
  return { ...defaults, stableWindowMs, scaleToZeroGraceMs: Math.max(0, after - stableWindowMs) };
}
