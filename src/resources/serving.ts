import type { Condition, KubeObject, ObjectMeta } from './meta.ts';

export interface EnvVar {
  name: string;
  value?: string;
}

export interface ContainerPort {
  name?: string;
  containerPort?: number;
  protocol?: string;
}

export interface Probe {
  initialDelaySeconds?: number;
  periodSeconds?: number;
  timeoutSeconds?: number;
  successThreshold?: number;
  failureThreshold?: number;
  httpGet?: {
    path?: string;
    port?: number | string;
    scheme?: string;
    host?: string;
    httpHeaders?: { name: string; value: string }[];
  };
  tcpSocket?: { port?: number | string; host?: string };
  exec?: { command?: string[] };
  grpc?: { port?: number; service?: string };
}

export interface ResourceRequirements {
  /** Kubernetes quantities: `cpu: "500m"`, `memory: "256Mi"`. */
  limits?: Record<string, string>;
  requests?: Record<string, string>;
}

export interface Container {
  name?: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: EnvVar[];
  ports?: ContainerPort[];
  resources?: ResourceRequirements;
  workingDir?: string;
  imagePullPolicy?: string;
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  startupProbe?: Probe;
  securityContext?: {
    runAsUser?: number;
    runAsGroup?: number;
    runAsNonRoot?: boolean;
    readOnlyRootFilesystem?: boolean;
    allowPrivilegeEscalation?: boolean;
    capabilities?: { drop?: string[]; add?: string[] };
  };
}

export interface RevisionSpec {
  containers: Container[];
  containerConcurrency?: number;
  timeoutSeconds?: number;
  responseStartTimeoutSeconds?: number;
  idleTimeoutSeconds?: number;
  serviceAccountName?: string;
}

export interface RevisionTemplate {
  metadata?: Partial<ObjectMeta>;
  spec: RevisionSpec;
}

export interface TrafficTarget {
  revisionName?: string;
  configurationName?: string;
  latestRevision?: boolean;
  percent?: number;
  tag?: string;
  /** Status only. */
  url?: string;
}

export interface Status {
  observedGeneration?: number;
  conditions?: Condition[];
  annotations?: Record<string, string>;
}

export interface Service extends KubeObject {
  spec: { template: RevisionTemplate; traffic?: TrafficTarget[] };
  status?: Status & {
    url?: string;
    address?: { url: string };
    latestCreatedRevisionName?: string;
    latestReadyRevisionName?: string;
    traffic?: TrafficTarget[];
  };
}

export interface Configuration extends KubeObject {
  spec: { template: RevisionTemplate };
  status?: Status & { latestCreatedRevisionName?: string; latestReadyRevisionName?: string };
}

export interface Revision extends KubeObject {
  spec: RevisionSpec;
  status?: Status & {
    containerStatuses?: { name?: string; imageDigest?: string }[];
    actualReplicas?: number;
    desiredReplicas?: number;
    logUrl?: string;
  };
}

export interface Route extends KubeObject {
  spec: { traffic?: TrafficTarget[] };
  status?: Status & { url?: string; address?: { url: string }; traffic?: TrafficTarget[] };
}
