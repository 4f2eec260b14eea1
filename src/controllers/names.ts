import { createHash } from 'node:crypto';
import type { KubeObject, OwnerReference } from '../resources/index.ts';

export const servingVersion = 'serving.knative.dev/v1';
export const servingGroup = 'serving.knative.dev';

/** Keys of labels and annotations that Knative defines. */
export const keys = {
  service: 'serving.knative.dev/service',
  serviceUID: 'serving.knative.dev/serviceUID',
  configuration: 'serving.knative.dev/configuration',
  configurationUID: 'serving.knative.dev/configurationUID',
  configurationGeneration: 'serving.knative.dev/configurationGeneration',
  routingState: 'serving.knative.dev/routingState',
  routingStateModified: 'serving.knative.dev/routingStateModified',
  route: 'serving.knative.dev/route',
  routes: 'serving.knative.dev/routes',
  creator: 'serving.knative.dev/creator',
  lastModifier: 'serving.knative.dev/lastModifier',
  rolloutDuration: 'serving.knative.dev/rollout-duration',
  progressDeadline: 'serving.knative.dev/progress-deadline',
  noGc: 'serving.knative.dev/no-gc',
  visibility: 'networking.knative.dev/visibility',
  lastApplied: 'kubectl.kubernetes.io/last-applied-configuration',
} as const;

/** The longest name that is a DNS label. */
const longest = 63;

/**
 * `parent` + `suffix`; where that is over 63 characters the parent is cut and its MD5 put behind, as Knative's
 * `kmeta.ChildName` does, so that names stay unique and predictable.
 */
export function childName(parent: string, suffix: string): string {
  if (parent.length + suffix.length <= longest) return parent + suffix;
  const hash = createHash('md5').update(parent).digest('hex');
  return parent.slice(0, Math.max(0, longest - hash.length - suffix.length)) + hash + suffix;
}

/** The reference by which `owner` controls a dependent: deleted with it, and reconciled by nobody else. */
export function controlledBy(owner: KubeObject): OwnerReference[] {
  const { apiVersion, kind, metadata } = owner;
  const { name, uid = '' } = metadata;
  return [{ apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true }];
}

export function isControlledBy(object: KubeObject, owner: KubeObject | undefined): boolean {
  const uid = owner?.metadata.uid;
  return (
    uid !== undefined && (object.metadata.ownerReferences ?? []).some((r) => r.controller === true && r.uid === uid)
  );
}

/** A copy of `record` without some keys. */
export function without(record: Record<string, string> | undefined, ...names: string[]): Record<string, string> {
  return Object.fromEntries(Object.entries(record ?? {}).filter(([name]) => !names.includes(name)));
}

/** The number in `configurationGeneration`; 0 where there is none. */
export function generationOf(revision: KubeObject): number {
  return Number(revision.metadata.labels?.[keys.configurationGeneration] ?? 0) || 0;
}
