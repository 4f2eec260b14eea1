import type { Probe } from '../container.ts';
import { generic, invalid, outOfBounds, type FieldError } from '../field-error.ts';

const int32Max = 2 ** 31 - 1;
const handlers = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const;

export type ProbeRole = 'readinessProbe' | 'livenessProbe' | 'startupProbe';

/** `port` is the container's own, with its name: a probe may ask no other port by name. */
export function validateProbe(
  probe: Probe,
  role: ProbeRole,
  port: { name: string | undefined; number: number },
  path: string,
): FieldError[] {
  const present = handlers.filter((h) => probe[h] !== undefined);
  const at = (field: string) => `${path}.${field}`;
  const errors: FieldError[] = [];
  if (present.length === 0) errors.push({ message: 'expected exactly one, got neither', paths: handlers.map(at) });
  if (present.length > 1) errors.push({ message: 'expected exactly one, got both', paths: present.map(at) });

  const bounds = (field: keyof Probe & `${string}${'Seconds' | 'Threshold'}`, low: number) => {
    const value = probe[field];
    if (typeof value === 'number' && (value < low || value > int32Max)) {
      errors.push(outOfBounds(value, low, int32Max, at(field)));
    }
  };
  bounds('initialDelaySeconds', 0);
  bounds('periodSeconds', 0);
  bounds('successThreshold', 1);
  if (probe.periodSeconds === 0 && role === 'readinessProbe') {
    // Probed as fast as is sensible: thresholds and timeouts are the prober's own.
    for (const field of ['failureThreshold', 'timeoutSeconds'] as const) {
      if ((probe[field] ?? 0) !== 0) {
        errors.push({
          message: 'must not set the field(s)',
          paths: [at(field)],
          details: 'periodSeconds 0 probes aggressively and sets its own',
          reason: 'FieldValueForbidden',
        });
      }
    }
  } else {
    bounds('failureThreshold', 1);
    bounds('timeoutSeconds', 1);
  }
  if (role !== 'readinessProbe' && probe.successThreshold !== undefined && probe.successThreshold !== 1) {
    errors.push(generic(`must be 1 in a ${role}, got ${probe.successThreshold}`, at('successThreshold')));
  }
  errors.push(...validateHandler(probe, port, path));
  return errors;
}

function validateHandler(probe: Probe, port: { name: string | undefined; number: number }, path: string): FieldError[] {
  const checkPort = (value: number | string | undefined, at: string): FieldError[] => {
    if (value === undefined || value === 0 || value === '') return [];
    if (typeof value === 'number') return value >= 1 && value <= 65535 ? [] : [outOfBounds(value, 1, 65535, at)];
    return value === port.name ? [] : [invalid(value, at, "a named port must be the name of the container's port")];
  };
  const { httpGet, tcpSocket, exec, grpc } = probe;
  return [
    ...(httpGet ? checkPort(httpGet.port, `${path}.httpGet.port`) : []),
    ...(httpGet?.scheme !== undefined && !['HTTP', 'HTTPS', ''].includes(httpGet.scheme)
      ? [invalid(httpGet.scheme, `${path}.httpGet.scheme`, 'must be HTTP or HTTPS')]
      : []),
    ...(httpGet?.path !== undefined && /[\0\r\n ]/.test(httpGet.path)
      ? [invalid(JSON.stringify(httpGet.path), `${path}.httpGet.path`, 'must not contain spaces or line ends')]
      : []),
    ...(httpGet?.httpHeaders ?? []).flatMap((header, i) => [
      ...(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(header.name)
        ? []
        : [invalid(header.name, `${path}.httpGet.httpHeaders[${i}].name`, 'must be an HTTP header name')]),
      ...(/[\0\r\n]/.test(header.value)
        ? [invalid(JSON.stringify(header.value), `${path}.httpGet.httpHeaders[${i}].value`)]
        : []),
    ]),
    ...(tcpSocket ? checkPort(tcpSocket.port, `${path}.tcpSocket.port`) : []),
    ...(grpc ? checkPort(grpc.port, `${path}.grpc.port`) : []),
    ...(exec && (exec.command ?? []).length === 0
      ? [{ message: 'missing field(s)', paths: [`${path}.exec.command`], reason: 'FieldValueRequired' as const }]
      : []),
  ];
}
