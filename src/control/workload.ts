import type { RevisionEntry } from '../gateway/wire.ts';
import type { Workload, WorkloadKey } from '../engine/engine.ts';
import type { Revision } from '../resources/index.ts';

/** Knative's default and upper bound for a whole request, seconds (config-defaults, `revision-timeout-seconds`). */
const defaultTimeoutSeconds = 300;

/** `namespace/name` of a revision: the engine's, the gateway's and the autoscaler's key alike. */
export function keyOf(revision: { metadata: { namespace?: string; name: string } }): WorkloadKey {
  return `${revision.metadata.namespace ?? 'default'}/${revision.metadata.name}`;
}

/** What the engine runs for a revision. Once its digests are known they replace the tags, for good. */
export function workloadOf(revision: Revision): Workload {
  const labels = revision.metadata.labels ?? {};
  const digests = new Map((revision.status?.containerStatuses ?? []).map((s) => [s.name, s.imageDigest]));
  return {
    namespace: revision.metadata.namespace ?? 'default',
    revision: revision.metadata.name,
    service: labels['serving.knative.dev/service'] ?? '',
    configuration: labels['serving.knative.dev/configuration'] ?? '',
    uid: revision.metadata.uid ?? '',
    spec: {
      ...revision.spec,
      containers: revision.spec.containers.map((c) => ({ ...c, image: digests.get(c.name) ?? c.image })),
    },
    annotations: revision.metadata.annotations ?? {},
  };
}

/** What the gateway needs to know of a revision. */
export function revisionEntryOf(revision: Revision, failure?: string): RevisionEntry {
  const labels = revision.metadata.labels ?? {};
  const port = revision.spec.containers.flatMap((c) => c.ports ?? [])[0];
  return {
    id: keyOf(revision),
    service: labels['serving.knative.dev/service'] ?? '',
    configuration: labels['serving.knative.dev/configuration'] ?? '',
    protocol: port?.name === 'h2c' ? 'h2c' : 'http1',
    containerConcurrency: revision.spec.containerConcurrency ?? 0,
    timeoutMs: (revision.spec.timeoutSeconds ?? defaultTimeoutSeconds) * 1000,
    responseStartTimeoutMs: (revision.spec.responseStartTimeoutSeconds ?? 0) * 1000,
    idleTimeoutMs: (revision.spec.idleTimeoutSeconds ?? 0) * 1000,
    ...(failure === undefined ? {} : { failure }),
  };
}
