import type { Container, Service } from './kube.ts';

/** What the user asked for on the command line of `ebb deploy`; what is absent stays as it is. */
export interface DeploySettings {
  image: string;
  /** Set when the reference may come to mean another image later: a redeploy must look again. */
  deployedAt?: string | undefined;
  /** Name to value; null takes the variable out. */
  env: Readonly<Record<string, string | null>>;
  port?: number | undefined;
  protocol?: 'http1' | 'h2c' | undefined;
  concurrency?: number | undefined;
  minScale?: number | undefined;
  maxScale?: number | undefined;
  timeoutSeconds?: number | undefined;
  cpu?: string | undefined;
  memory?: string | undefined;
  scaleToZeroAfter?: string | undefined;
  /** Of the revision template, over those that the other settings stand for. */
  annotations?: Readonly<Record<string, string>> | undefined;
  command?: string[] | undefined;
  args?: string[] | undefined;
}

/** A new Service of the settings. */
export function newService(name: string, namespace: string, settings: DeploySettings): Service {
  const annotations = annotationsOf(settings);
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: {
      template: {
        ...(Object.keys(annotations).length > 0 ? { metadata: { annotations } } : {}),
        spec: { containers: [containerOf({}, settings)], ...limitsOf(settings) },
      },
    },
  };
}

/**
 * The JSON merge patch that brings an existing Service to the settings. Traffic, other variables, other annotations and
 * sidecars stay. Carries the resourceVersion that it was made from: containers are a list and replaced whole, so a change
 * by someone else in between must be a conflict.
 */
export function servicePatch(existing: Service, settings: DeploySettings): object {
  const template = existing.spec?.template;
  const containers = template?.spec?.containers ?? [];
  // In a Knative revision exactly one container has ports: the one that serves. Alone, it need not have any.
  const serving = Math.max(0, containers.length > 1 ? containers.findIndex((c) => (c.ports?.length ?? 0) > 0) : 0);
  const next = containers.length === 0 ? [{}] : containers;
  const annotations = annotationsOf(settings);
  // A name given by hand names one revision only: the next one gets its name from the generation.
  const metadata = { ...(template?.metadata?.name ? { name: null } : {}), annotations };
  return {
    metadata: existing.metadata.resourceVersion ? { resourceVersion: existing.metadata.resourceVersion } : {},
    spec: {
      template: {
        ...(Object.keys(annotations).length > 0 || template?.metadata?.name ? { metadata } : {}),
        spec: {
          containers: next.map((container, i) => (i === serving ? containerOf(container, settings) : container)),
          ...limitsOf(settings),
        },
      },
    },
  };
}

function annotationsOf(settings: DeploySettings): Record<string, string> {
  const annotations: Record<string, string> = {};
  if (settings.minScale !== undefined) annotations['autoscaling.knative.dev/min-scale'] = String(settings.minScale);
  if (settings.maxScale !== undefined) annotations['autoscaling.knative.dev/max-scale'] = String(settings.maxScale);
  if (settings.scaleToZeroAfter) annotations['ebb.dev/scale-to-zero-after'] = settings.scaleToZeroAfter;
  if (settings.deployedAt) annotations['client.knative.dev/updateTimestamp'] = settings.deployedAt;
  return { ...annotations, ...settings.annotations };
}

function limitsOf(settings: DeploySettings): { containerConcurrency?: number; timeoutSeconds?: number } {
  return {
    ...(settings.concurrency === undefined ? {} : { containerConcurrency: settings.concurrency }),
    ...(settings.timeoutSeconds === undefined ? {} : { timeoutSeconds: settings.timeoutSeconds }),
  };
}

function containerOf(existing: Partial<Container>, settings: DeploySettings): Container {
  const env = (existing.env ?? []).filter((variable) => !(variable.name in settings.env));
  for (const [name, value] of Object.entries(settings.env)) if (value !== null) env.push({ name, value });
  const limits = {
    ...existing.resources?.limits,
    ...(settings.cpu ? { cpu: settings.cpu } : {}),
    ...(settings.memory ? { memory: settings.memory } : {}),
  };
  const ports = portsOf(existing, settings);
  return {
    ...existing,
    image: settings.image,
    ...(env.length > 0 || existing.env ? { env } : {}),
    ...(ports ? { ports } : {}),
    ...(Object.keys(limits).length > 0 ? { resources: { ...existing.resources, limits } } : {}),
    ...(settings.command ? { command: settings.command } : {}),
    ...(settings.args ? { args: settings.args } : {}),
  };
}

function portsOf(existing: Partial<Container>, settings: DeploySettings): Container['ports'] | undefined {
  if (settings.port === undefined && settings.protocol === undefined) return undefined;
  return [
    {
      ...existing.ports?.[0],
      ...(settings.port === undefined ? {} : { containerPort: settings.port }),
      ...(settings.protocol === undefined ? {} : { name: settings.protocol }),
    },
  ];
}
