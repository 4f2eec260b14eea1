import type { Container, Probe } from './container.ts';
import type { Configuration, RevisionSpec, RevisionTemplate, Route, Service, TrafficTarget } from './serving.ts';

/** Knative's config-defaults, as shipped. */
const revisionTimeoutSeconds = 300;
const containerConcurrency = 0;
const userContainer = 'user-container';

/** Defaulting, as Knative's webhook does it: the given object with what it leaves open filled in. Idempotent. */
export function defaultService(service: Service): Service {
  const { template, traffic } = service.spec;
  return {
    ...service,
    spec: { ...service.spec, template: defaultTemplate(template), traffic: defaultTraffic(traffic, true) },
  };
}

export function defaultConfiguration(configuration: Configuration): Configuration {
  return { ...configuration, spec: { ...configuration.spec, template: defaultTemplate(configuration.spec.template) } };
}

export function defaultRoute(route: Route): Route {
  const own = route.spec ?? {};
  // A Route without traffic points at the Configuration of its own name.
  const traffic = own.traffic?.length
    ? own.traffic
    : [{ configurationName: route.metadata.name, latestRevision: true, percent: 100 }];
  return { ...route, spec: { ...own, traffic: defaultTraffic(traffic, false) } };
}

function defaultTemplate(template: RevisionTemplate): RevisionTemplate {
  return { ...template, spec: defaultRevisionSpec(template.spec) };
}

function defaultTraffic(targets: readonly TrafficTarget[] | undefined, service: boolean): TrafficTarget[] {
  if (!targets || targets.length === 0) return service ? [{ latestRevision: true, percent: 100 }] : [];
  return targets.map((target) => ({ latestRevision: !target.revisionName, percent: 0, ...target }));
}

/** Defaults of a new revision's spec; the spec of an existing one is never touched again. */
export function defaultRevisionSpec(spec: RevisionSpec): RevisionSpec {
  const containers = nameContainers(spec.containers ?? []);
  const emptyDirs = new Set((spec.volumes ?? []).filter((v) => v.emptyDir).map((v) => v.name));
  const out: RevisionSpec = {
    ...spec,
    containerConcurrency: spec.containerConcurrency ?? containerConcurrency,
    // 0 means "not set" in Knative: Go has no absent integer.
    timeoutSeconds: spec.timeoutSeconds || revisionTimeoutSeconds,
    enableServiceLinks: spec.enableServiceLinks ?? false,
    containers: containers
      .map((c) => defaultContainer(c, containers.length === 1 || (c.ports ?? []).length > 0))
      .map((c) => withReadOnlyMounts(c, emptyDirs)),
  };
  if (spec.responseStartTimeoutSeconds === 0) delete out.responseStartTimeoutSeconds;
  if (spec.idleTimeoutSeconds === 0) delete out.idleTimeoutSeconds;
  return out;
}

/** One container is called user-container; of several, the nameless ones get numbers that nobody has yet. */
function nameContainers(containers: readonly Container[]): Container[] {
  const taken = new Set(containers.map((c) => c.name));
  let next = 0;
  return containers.map((container) => {
    if (container.name) return container;
    if (containers.length === 1) return { ...container, name: userContainer };
    while (taken.has(`${userContainer}-${next}`)) next += 1;
    const name = `${userContainer}-${next}`;
    taken.add(name);
    return { ...container, name };
  });
}

function defaultContainer(container: Container, serving: boolean): Container {
  const out: Container = { ...container, resources: stringQuantities(container.resources ?? {}) };
  if (!serving) return out;
  const ports = container.ports?.length ? container.ports : [{}];
  out.ports = ports.map((port) => ({
    ...port,
    name: port.name || 'http1',
    containerPort: port.containerPort || 8080,
    protocol: port.protocol || 'TCP',
  }));
  out.readinessProbe = defaultProbe(container.readinessProbe ?? {}, true);
  if (container.livenessProbe) out.livenessProbe = defaultProbe(container.livenessProbe, false);
  if (container.startupProbe) out.startupProbe = defaultProbe(container.startupProbe, false);
  return out;
}

/** Secrets and ConfigMaps are never written to; Go's Knative can't tell false from absent and makes both true. */
function withReadOnlyMounts(container: Container, emptyDirs: ReadonlySet<string | undefined>): Container {
  if (!container.volumeMounts) return container;
  const volumeMounts = container.volumeMounts.map((m) => (emptyDirs.has(m.name) ? m : { ...m, readOnly: true }));
  return { ...container, volumeMounts };
}

function defaultProbe(probe: Probe, readiness: boolean): Probe {
  const hasHandler = probe.httpGet ?? probe.tcpSocket ?? probe.exec ?? probe.grpc;
  const out: Probe = { ...probe, successThreshold: probe.successThreshold || 1 };
  if (!hasHandler) out.tcpSocket = { port: 0 };
  if (!readiness) out.periodSeconds = probe.periodSeconds || 10;
  // A readiness probe without a period is probed as fast as is sensible; its other numbers are the prober's own.
  if (out.periodSeconds) {
    out.failureThreshold = probe.failureThreshold || 3;
    out.timeoutSeconds = probe.timeoutSeconds || 1;
  }
  return out;
}

/** YAML makes `cpu: 1` a number; a quantity is a string. */
function stringQuantities(resources: NonNullable<Container['resources']>): NonNullable<Container['resources']> {
  const strings = (list: Record<string, string>) =>
    Object.fromEntries(Object.entries(list).map(([name, value]) => [name, String(value)]));
  return {
    ...(resources.limits ? { limits: strings(resources.limits) } : {}),
    ...(resources.requests ? { requests: strings(resources.requests) } : {}),
  };
}
