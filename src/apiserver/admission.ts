import { isDeepStrictEqual } from 'node:util';
import { EbbError } from '../platform/errors.ts';
import { checkShape, fieldErrorsText, fieldErrorText, type FieldError, type Kind } from '../resources/api.ts';
import { apiVersionOf, keys, type KubeObject } from '../resources/index.ts';
import { badRequest, detailsOf } from './status.ts';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

export interface AdmissionRequest {
  kind: Kind;
  /** From the path; undefined for cluster-scoped kinds. */
  namespace: string | undefined;
  /** From the path; undefined on create. */
  name: string | undefined;
  body: Record<string, unknown>;
  /** The stored object; undefined on create. */
  previous: KubeObject | undefined;
  user: string;
  fieldValidation: FieldValidation;
}

export interface Admitted {
  object: KubeObject;
  /** For `Warning` headers: what was dropped. */
  warnings: string[];
}

/**
 * What stands between a request and the store: identity agrees with the path, shape is the kind's, unknown fields are
 * refused or dropped, defaults filled in, the user noted, everything validated. Throws EbbError BadRequest.
 */
export function admit(request: AdmissionRequest): Admitted {
  const { kind, previous } = request;
  const { value, errors, warnings } = shape(request);
  refuse(kind, request.body['metadata'] as { name?: unknown } | null | undefined, errors);
  // The schema has made sure that it is an object of its kind.
  const shaped = value as KubeObject;
  const defaulted = kind.default ? kind.default(shaped, previous) : shaped;
  const object = kind.stampsUser ? stampUser(defaulted, previous, request.user) : defaulted;
  refuse(kind, object.metadata, kind.validate(object, previous));
  return { object, warnings };
}

/** What somebody applies: the same, but only a part of an object, which the object itself completes. */
export function shapeConfig(request: AdmissionRequest): { config: Record<string, unknown>; warnings: string[] } {
  const { value, errors, warnings } = shape(request);
  const { metadata } = value as { metadata?: { name?: string; managedFields?: unknown } };
  if (metadata?.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  refuse(
    request.kind,
    { name: request.name },
    errors.filter((e) => e.reason !== 'FieldValueRequired'),
  );
  return { config: value as Record<string, unknown>, warnings };
}

function shape(request: AdmissionRequest): { value: unknown; errors: FieldError[]; warnings: string[] } {
  const { kind } = request;
  const { value, unknown, errors } = checkShape(kind.schema, withIdentity(request));
  const names = unknown.map((path) => `unknown field "${path}"`);
  if (names.length > 0 && request.fieldValidation === 'Strict') {
    const version = `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}`;
    throw badRequest(`${version}: strict decoding error: ${names.join(', ')}`);
  }
  return { value, errors, warnings: request.fieldValidation === 'Warn' ? names : [] };
}

/** apiVersion, kind, name and namespace must be those of the path; the body may leave them out. */
function withIdentity({ kind, namespace, name, body }: AdmissionRequest): Record<string, unknown> {
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const metadata = body['metadata'] ?? {};
  if (typeof metadata !== 'object' || Array.isArray(metadata)) throw badRequest('metadata must be an object');
  const given = metadata as Record<string, unknown>;
  const agree = (field: string, value: unknown, expected: unknown, what: string) => {
    if (value === undefined || value === null || value === '' || value === expected) return;
    const shown = String(JSON.stringify(value)).slice(0, 200);
    throw badRequest(`the ${field} of the provided object (${shown}) does not match ${what} (${String(expected)})`);
  };
  agree('apiVersion', body['apiVersion'], apiVersion, 'the expected API version');
  agree('kind', body['kind'], kind.kind, 'the expected kind');
  agree('namespace', given['namespace'], namespace, 'the namespace sent on the request');
  if (name !== undefined) agree('name', given['name'], name, 'the name on the URL');
  const identity: Record<string, unknown> = { ...given, ...(name === undefined ? {} : { name }) };
  if (namespace === undefined) delete identity['namespace'];
  else identity['namespace'] = namespace;
  return { ...body, apiVersion, kind: kind.kind, metadata: identity };
}

/** Knative: creator is whoever made it, lastModifier whoever last changed its spec. */
function stampUser(object: KubeObject, previous: KubeObject | undefined, user: string): KubeObject {
  const given = object.metadata.annotations ?? {};
  const before = previous?.metadata.annotations ?? {};
  const specOf = (o: KubeObject) => (o as KubeObject & { spec?: unknown }).spec;
  const changed = !previous || !isDeepStrictEqual(specOf(object), specOf(previous));
  const creator = previous ? (given[keys.creator] ?? before[keys.creator]) : user;
  const lastModifier = changed ? user : before[keys.lastModifier];
  const annotations = {
    ...given,
    ...(creator === undefined ? {} : { [keys.creator]: creator }),
    ...(lastModifier === undefined ? {} : { [keys.lastModifier]: lastModifier }),
  };
  return { ...object, metadata: { ...object.metadata, annotations } };
}

function refuse(kind: Kind, metadata: { name?: unknown } | null | undefined, errors: readonly FieldError[]): void {
  if (errors.length === 0) return;
  const causes = errors.flatMap((error) =>
    error.paths.map((field) => ({
      reason: error.reason ?? 'FieldValueInvalid',
      message: fieldErrorText(error),
      field,
    })),
  );
  const name = typeof metadata?.name === 'string' ? metadata.name : '';
  throw new EbbError('BadRequest', 400, `validation failed: ${fieldErrorsText(errors)}`, {
    details: { ...detailsOf(kind, name), causes },
  });
}
