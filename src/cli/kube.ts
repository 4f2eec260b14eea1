/** The objects of the API as the CLI reads them: every field may be missing, since the server may be newer or older. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    generation?: number;
    creationTimestamp?: string;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
}

export interface KubeList<T extends KubeObject = KubeObject> {
  apiVersion?: string;
  kind?: string;
  metadata?: { resourceVersion?: string; continue?: string };
  items: T[];
}

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  severity?: string;
}

export interface Container {
  name?: string;
  image?: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  ports?: { name?: string; containerPort?: number }[];
  resources?: { limits?: Record<string, string>; requests?: Record<string, string> };
  [field: string]: unknown;
}

export interface TrafficTarget {
  revisionName?: string;
  latestRevision?: boolean;
  percent?: number;
  tag?: string;
  url?: string;
}

export interface Service extends KubeObject {
  spec?: {
    template?: {
      metadata?: { name?: string; annotations?: Record<string, string>; labels?: Record<string, string> };
      spec?: { containers?: Container[]; containerConcurrency?: number; timeoutSeconds?: number };
    };
    traffic?: TrafficTarget[];
  };
  status?: {
    observedGeneration?: number;
    conditions?: Condition[];
    url?: string;
    latestCreatedRevisionName?: string;
    latestReadyRevisionName?: string;
    traffic?: TrafficTarget[];
  };
}

export interface Revision extends KubeObject {
  spec?: { containers?: Container[]; containerConcurrency?: number };
  status?: {
    conditions?: Condition[];
    actualReplicas?: number;
    desiredReplicas?: number;
    containerStatuses?: { name?: string; imageDigest?: string }[];
  };
}

export interface Pod extends KubeObject {
  status?: {
    phase?: string;
    podIP?: string;
    startTime?: string;
    containerStatuses?: {
      name?: string;
      ready?: boolean;
      restartCount?: number;
      state?: {
        waiting?: { reason?: string; message?: string };
        running?: { startedAt?: string };
        terminated?: { exitCode?: number; reason?: string; message?: string };
      };
    }[];
  };
}

export interface KubeEvent extends KubeObject {
  type?: string;
  reason?: string;
  message?: string;
  lastTimestamp?: string;
  eventTime?: string;
  count?: number;
  involvedObject?: { kind?: string; name?: string };
}

export const labels = {
  service: 'serving.knative.dev/service',
  revision: 'serving.knative.dev/revision',
  configurationGeneration: 'serving.knative.dev/configurationGeneration',
} as const;

/** REST paths, relative to the server's address. */
export const paths = {
  services: (namespace: string, name?: string) =>
    collection('/apis/serving.knative.dev/v1', namespace, 'services', name),
  revisions: (namespace: string, name?: string) =>
    collection('/apis/serving.knative.dev/v1', namespace, 'revisions', name),
  pods: (namespace: string, name?: string) => collection('/api/v1', namespace, 'pods', name),
  events: (namespace: string) => collection('/api/v1', namespace, 'events'),
  builds: (namespace: string) => collection('/apis/ebb.dev/v1alpha1', namespace, 'builds'),
  images: (namespace: string) => collection('/apis/ebb.dev/v1alpha1', namespace, 'images'),
  log: (namespace: string, service: string) =>
    `${collection('/apis/ebb.dev/v1alpha1', namespace, 'services', service)}/log`,
  status: '/apis/ebb.dev/v1alpha1/status',
  shutdown: '/apis/ebb.dev/v1alpha1/shutdown',
} as const;

/** The condition `Ready`, or the one named. */
export function conditionOf(object: { status?: { conditions?: Condition[] } }, type = 'Ready'): Condition | undefined {
  return object.status?.conditions?.find((c) => c.type === type);
}

/** What an instance does, in one word: Standby, Starting, Ready, Terminating, or the reason of its end. */
export function stateOf(pod: Pod): string {
  const container = pod.status?.containerStatuses?.[0];
  if (pod.metadata.deletionTimestamp) return 'Terminating';
  if (container?.state?.waiting) return container.state.waiting.reason ?? 'Waiting';
  if (container?.state?.terminated) return container.state.terminated.reason ?? 'Exited';
  if (container?.ready) return 'Ready';
  return container?.state?.running ? 'Starting' : (pod.status?.phase ?? 'Unknown');
}

function collection(base: string, namespace: string, plural: string, name?: string): string {
  const path = `${base}/namespaces/${encodeURIComponent(namespace)}/${plural}`;
  return name === undefined ? path : `${path}/${encodeURIComponent(name)}`;
}
