/** The annotation and label keys that more than one part of the program knows. */
export const keys = {
  creator: 'serving.knative.dev/creator',
  lastModifier: 'serving.knative.dev/lastModifier',
  service: 'serving.knative.dev/service',
  serviceUID: 'serving.knative.dev/serviceUID',
  configuration: 'serving.knative.dev/configuration',
  configurationUID: 'serving.knative.dev/configurationUID',
  configurationGeneration: 'serving.knative.dev/configurationGeneration',
  revision: 'serving.knative.dev/revision',
  route: 'serving.knative.dev/route',
  routingState: 'serving.knative.dev/routingState',
  routingStateModified: 'serving.knative.dev/routingStateModified',
  routes: 'serving.knative.dev/routes',
  rolloutDuration: 'serving.knative.dev/rollout-duration',
  progressDeadline: 'serving.knative.dev/progress-deadline',
  noGc: 'serving.knative.dev/no-gc',
  visibility: 'networking.knative.dev/visibility',
  minScale: 'autoscaling.knative.dev/min-scale',
  maxScale: 'autoscaling.knative.dev/max-scale',
  writable: 'ebb.dev/writable',
  lastApplied: 'kubectl.kubernetes.io/last-applied-configuration',
} as const;

export const autoscalingGroup = 'autoscaling.knative.dev/';
export const servingGroup = 'serving.knative.dev/';
export const ebbGroup = 'ebb.dev/';

/** Knative's second, older spelling of each autoscaling annotation, by the first: `min-scale` -> `minScale`. */
const aliased = [
  'min-scale',
  'max-scale',
  'initial-scale',
  'activation-scale',
  'scale-down-delay',
  'target-utilization-percentage',
  'panic-window-percentage',
  'panic-threshold-percentage',
  'target-burst-capacity',
  'scale-to-zero-pod-retention-period',
  'metric-aggregation-algorithm',
] as const;

/** Both spellings of an autoscaling annotation, the preferred one first. */
export function autoscalingKeys(name: string): string[] {
  const alias = name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const names = (aliased as readonly string[]).includes(name) ? [name, alias] : [name];
  return names.map((n) => autoscalingGroup + n);
}

/** The value of `autoscaling.knative.dev/NAME` in either spelling. */
export function autoscalingAnnotation(
  annotations: Record<string, string> | undefined,
  name: string,
): string | undefined {
  for (const key of autoscalingKeys(name)) {
    const value = annotations?.[key];
    if (value !== undefined) return value;
  }
  return undefined;
}
