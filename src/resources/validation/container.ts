import type { Container, ContainerPort, ResourceRequirements } from '../container.ts';
import { generic, invalid, missing, outOfBounds, type FieldError } from '../field-error.ts';
import { dns1123Words, isDns1123Label, isEnvVarName } from '../names.ts';
import { cpuMillis, parseQuantity } from '../quantities.ts';
import type { Volume } from '../volumes.ts';
import { validateProbe, type ProbeRole } from './probe.ts';
import { validateEnvFrom, validateValueFrom, validateVolumeMounts } from './volumes.ts';

/** Ports of Knative's own sidecar, which an app may not take (pkg/apis/serving/k8s_validation.go). */
const reservedPorts = new Set([8008, 8012, 8013, 8022, 9090, 9091]);
const reservedEnv = new Set(['K_SERVICE', 'K_CONFIGURATION', 'K_REVISION']);
const maxUserId = 2 ** 31 - 1;
/** runc and the kernel work with KiB and pages: below this no process starts. */
const minMemoryBytes = 4 * 1024 * 1024;

/** The containers of one revision: exactly one of them serves. */
export function validateContainers(
  containers: readonly Container[],
  volumes: readonly Volume[],
  path: string,
): FieldError[] {
  if (containers.length === 0) return [missing(path)];
  const serving = containers.filter((c) => (c.ports ?? []).length > 0);
  const errors: FieldError[] = [];
  if (containers.length > 1 && serving.length === 0) errors.push(missing(`${path}[*].ports`));
  if (serving.length > 1) {
    const paths = containers.flatMap((c, i) => ((c.ports ?? []).length > 0 ? [`${path}[${i}].ports`] : []));
    errors.push({
      message: 'more than one container port is set',
      paths,
      details: 'Only a single port is allowed across all containers',
    });
  }
  const names = new Map<string, number>();
  for (const [i, container] of containers.entries()) {
    const at = `${path}[${i}]`;
    const first = container.name ? names.get(container.name) : undefined;
    if (first !== undefined) {
      errors.push({
        message: `duplicate container name "${container.name}"`,
        paths: [`${path}[${first}].name`, `${at}.name`],
        reason: 'FieldValueDuplicate',
      });
    } else if (container.name) names.set(container.name, i);
    const isServing = containers.length === 1 || (container.ports ?? []).length > 0;
    errors.push(...validateContainer(container, isServing, at));
    errors.push(...validateVolumeMounts(container.volumeMounts ?? [], volumes, `${at}.volumeMounts`));
  }
  return errors;
}

function validateContainer(container: Container, serving: boolean, path: string): FieldError[] {
  const port = container.ports?.[0];
  const ownPort = { name: port?.name, number: port?.containerPort ?? 8080 };
  const probe = (role: ProbeRole): FieldError[] => {
    const value = container[role];
    if (value === undefined) return [];
    // Only the container that serves is probed (Knative: multi-container-probing is off by default).
    if (!serving)
      return [{ message: 'must not set the field(s)', paths: [`${path}.${role}`], reason: 'FieldValueForbidden' }];
    return validateProbe(value, role, ownPort, `${path}.${role}`);
  };
  return [
    ...validateName(container.name, path),
    ...validateImage(container.image, `${path}.image`),
    ...validateEnv(container, serving, path),
    ...validateEnvFrom(container.envFrom ?? [], `${path}.envFrom`),
    ...validatePorts(container.ports ?? [], `${path}.ports`),
    ...validateResources(container.resources, `${path}.resources`),
    ...probe('readinessProbe'),
    ...probe('livenessProbe'),
    ...probe('startupProbe'),
    ...validateSecurity(container, path),
    ...noNul([...(container.command ?? []), ...(container.args ?? [])], `${path}.command`),
    ...(container.workingDir !== undefined && container.workingDir !== '' && !container.workingDir.startsWith('/')
      ? [invalid(container.workingDir, `${path}.workingDir`, 'must be an absolute path')]
      : []),
    ...noNul([container.workingDir ?? ''], `${path}.workingDir`),
    ...(['', 'Always', 'IfNotPresent', 'Never'].includes(container.imagePullPolicy ?? '')
      ? []
      : [invalid(container.imagePullPolicy, `${path}.imagePullPolicy`, 'must be Always, IfNotPresent or Never')]),
  ];
}

function validateName(name: string | undefined, path: string): FieldError[] {
  if (name === undefined || name === '') return [];
  if (name === 'queue-proxy') return [generic(`"${name}" is a reserved container name`, `${path}.name`)];
  return isDns1123Label(name) ? [] : [invalid(name, `${path}.name`, dns1123Words)];
}

/** A reference as people write it: `name`, `host:port/path/name:tag@sha256:...`. The image store parses it for real. */
function validateImage(image: string | undefined, path: string): FieldError[] {
  if (!image) return [missing(path)];
  const wellFormed =
    image.length <= 1024 &&
    /^(?:[a-zA-Z0-9.-]+(?::\d{1,5})?\/|\[[0-9a-fA-F:]+\](?::\d{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@[a-z0-9+._-]+:[0-9a-fA-F]{32,})?$/.test(
      image,
    );
  return wellFormed
    ? []
    : [
        {
          message: 'Failed to parse image reference',
          paths: [path],
          details: `image: ${JSON.stringify(image.slice(0, 100))}: write it as NAME, HOST/NAME:TAG or HOST/NAME@sha256:DIGEST`,
        },
      ];
}

function validateEnv(container: Container, serving: boolean, path: string): FieldError[] {
  return (container.env ?? []).flatMap((variable, i) => {
    const at = `${path}.env[${i}]`;
    if (variable.name === '') return [missing(`${at}.name`)];
    const reserved = reservedEnv.has(variable.name) || (serving && variable.name === 'PORT');
    if (reserved) return [generic(`"${variable.name}" is a reserved environment variable`, `${at}.name`)];
    return [
      ...(isEnvVarName(variable.name) ? [] : [invalid(variable.name, `${at}.name`, 'printable ASCII but "="')]),
      ...noNul([variable.value ?? ''], `${at}.value`),
      ...(variable.valueFrom ? validateValueFrom(variable.valueFrom, variable.value, `${at}.valueFrom`) : []),
    ];
  });
}

function validatePorts(ports: readonly ContainerPort[], path: string): FieldError[] {
  if (ports.length > 1) {
    return [
      { message: 'more than one container port is set', paths: [path], details: 'Only a single port is allowed' },
    ];
  }
  return ports.flatMap((port, i) => {
    const at = `${path}[${i}]`;
    const number = port.containerPort ?? 0;
    return [
      ...(number < 0 || number > 65535 ? [outOfBounds(number, 0, 65535, `${at}.containerPort`)] : []),
      ...(reservedPorts.has(number) ? [invalid(number, `${at}.containerPort`, `${number} is a reserved port`)] : []),
      ...(['', 'TCP'].includes(port.protocol ?? '') ? [] : [invalid(port.protocol, `${at}.protocol`, 'must be TCP')]),
      ...(['', 'http1', 'h2c'].includes(port.name ?? '')
        ? []
        : [
            {
              message: `Port name ${String(port.name).slice(0, 64)} is not allowed`,
              paths: [`${at}.name`],
              details: "Name must be empty, or one of: 'h2c', 'http1'",
            },
          ]),
    ];
  });
}

function validateResources(resources: ResourceRequirements | undefined, path: string): FieldError[] {
  const check = (list: 'limits' | 'requests') =>
    Object.entries(resources?.[list] ?? {}).flatMap(([name, value]) => {
      const at = `${path}.${list}.${name}`;
      if (!['cpu', 'memory', 'ephemeral-storage'].includes(name)) {
        return [invalid(name, `${path}.${list}`, 'cpu, memory and ephemeral-storage can be set')];
      }
      const amount = parseQuantity(value);
      if (amount === undefined) return [invalid(value, at, 'must be a quantity such as 500m, 256Mi or 1.5')];
      if (amount < 0) return [invalid(value, at, 'must not be negative')];
      if (list === 'limits' && name === 'memory' && amount < minMemoryBytes) {
        return [invalid(value, at, 'must be at least 4Mi: M is mega, Mi is mebi, m is a thousandth')];
      }
      if (list === 'limits' && name === 'cpu' && (cpuMillis(value) ?? 0) < 1)
        return [invalid(value, at, 'must be at least 1m')];
      return [];
    });
  const limits = resources?.limits ?? {};
  const above = Object.entries(resources?.requests ?? {}).filter(([name, value]) => {
    const limit = limits[name];
    return limit !== undefined && (parseQuantity(value) ?? 0) > (parseQuantity(limit) ?? Infinity);
  });
  return [
    ...check('limits'),
    ...check('requests'),
    ...above.map(([name, value]) =>
      invalid(
        value,
        `${path}.requests.${name}`,
        `must be less than or equal to the ${name} limit of ${limits[name] ?? ''}`,
      ),
    ),
  ];
}

function validateSecurity(container: Container, path: string): FieldError[] {
  const context = container.securityContext;
  if (!context) return [];
  const at = `${path}.securityContext`;
  const id = (field: 'runAsUser' | 'runAsGroup') => {
    const value = context[field];
    return value !== undefined && (value < 0 || value > maxUserId)
      ? [outOfBounds(value, 0, maxUserId, `${at}.${field}`)]
      : [];
  };
  const added = (context.capabilities?.add ?? []).filter((c) => c !== 'NET_BIND_SERVICE');
  return [
    ...id('runAsUser'),
    ...id('runAsGroup'),
    ...(added.length > 0
      ? [
          {
            message: 'must not set the field(s)',
            paths: [`${at}.capabilities.add`],
            details: 'only NET_BIND_SERVICE can be added',
            reason: 'FieldValueForbidden' as const,
          },
        ]
      : []),
    ...(context.runAsNonRoot === true && context.runAsUser === 0
      ? [invalid(0, `${at}.runAsUser`, 'is root, which runAsNonRoot forbids')]
      : []),
  ];
}

function noNul(values: readonly string[], path: string): FieldError[] {
  // execve(2) takes strings that end at the first NUL.
  return values.some((v) => v.includes('\0')) ? [generic('must not contain NUL characters', path)] : [];
}
