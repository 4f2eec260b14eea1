import type { Instance, Workload } from '../engine/engine.ts';
import type { KubeObject } from '../resources/index.ts';

/**
 * An instance as a read-only core/v1 Pod, with the labels that Knative gives its pods, so that
 * `kubectl get pods -l serving.knative.dev/service=NAME` works as it does there. A standby is a Pod that waits with
 * reason `Standby`; one that drains or stops has a deletionTimestamp, which clients show as Terminating.
 */
export function podOf(
  instance: Instance,
  workload: Workload | undefined,
): KubeObject & { spec: object; status: object } {
  const [namespace = 'default', revision = ''] = instance.workload.split('/');
  const status = instance.status;
  const iso = (ms: number) => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
  const ready = status.state === 'ready';
  const ended = status.state === 'draining' || status.state === 'stopping';
  const container = workload?.spec.containers[0];
  const startedAt = instance.startedAtMs === undefined ? undefined : iso(instance.startedAtMs);

  const containerState =
    status.state === 'standby'
      ? { waiting: { reason: 'Standby', message: 'sandbox created, process starts with the first request' } }
      : status.state === 'exited'
        ? {
            terminated: {
              exitCode: status.exit.code,
              reason: status.exit.reason,
              message: [status.exit.message, ...status.exit.lastLogLines].join('\n'),
              ...(startedAt ? { startedAt } : {}),
              finishedAt: iso(status.exit.atMs),
            },
          }
        : { running: startedAt ? { startedAt } : {} };

  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: instance.id,
      namespace,
      uid: instance.id,
      creationTimestamp: iso(instance.createdAtMs),
      ...(ended ? { deletionTimestamp: iso(status.sinceMs) } : {}),
      labels: {
        app: revision,
        'serving.knative.dev/service': instance.service,
        'serving.knative.dev/configuration': workload?.configuration ?? instance.service,
        'serving.knative.dev/revision': revision,
      },
    },
    spec: {
      containers: [
        {
          name: container?.name ?? 'user-container',
          image: container?.image ?? '',
          ...(container?.resources ? { resources: container.resources } : {}),
        },
      ],
    },
    status: {
      phase: phaseOf(status),
      ...(instance.address ? { podIP: instance.address.host } : {}),
      ...(startedAt ? { startTime: startedAt } : {}),
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      containerStatuses: [
        {
          name: container?.name ?? 'user-container',
          image: container?.image ?? '',
          ready,
          started: status.state !== 'standby',
          restartCount: instance.restarts,
          state: containerState,
        },
      ],
    },
  };
}

function phaseOf(status: Instance['status']): 'Pending' | 'Running' | 'Succeeded' | 'Failed' {
  switch (status.state) {
    case 'standby':
      return 'Pending';
    case 'starting':
    case 'ready':
    case 'draining':
    case 'stopping':
      return 'Running';
    case 'exited':
      return status.exit.code === 0 ? 'Succeeded' : 'Failed';
  }
}
