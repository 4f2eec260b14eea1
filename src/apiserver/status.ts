import { EbbError } from '../platform/errors.ts';
import { apiVersionOf, type Kind } from '../resources/api.ts';

/** metav1.Status: how every failure, and the success of a deletion, is answered. */
export interface Status {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Record<string, never>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: Record<string, unknown>;
  code: number;
}

export function failure(error: EbbError): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: error.message,
    reason: error.code,
    ...(error.details === undefined ? {} : { details: error.details }),
    code: error.status,
  };
}

export function success(details: Record<string, unknown>): Status {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details, code: 200 };
}

/** `services.serving.knative.dev`: how Kubernetes' messages name a collection. */
export const resourceName = (kind: Kind) => (kind.group === '' ? kind.plural : `${kind.plural}.${kind.group}`);

export const detailsOf = (kind: Kind, name: string) => ({ name, group: kind.group, kind: kind.plural });

export function notFound(kind: Kind, name: string): EbbError {
  const details = detailsOf(kind, name);
  return new EbbError('NotFound', 404, `${resourceName(kind)} "${name}" not found`, { details });
}

export function badRequest(message: string): EbbError {
  return new EbbError('BadRequest', 400, message);
}

export function unsupportedMediaType(message: string): EbbError {
  return new EbbError('UnsupportedMediaType', 415, message);
}

export function methodNotAllowed(kind: Kind, verb: string): EbbError {
  const text = `${verb} is not supported on ${resourceName(kind)} of ${apiVersionOf(kind.group, kind.version)}`;
  return new EbbError('MethodNotAllowed', 405, `${text}; it allows ${kind.verbs.join(', ')}`);
}
