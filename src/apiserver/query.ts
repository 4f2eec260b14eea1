import { EbbError } from '../platform/errors.ts';
import { parseFieldSelector, parseLabelSelector, type Kind } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import type { FieldValidation } from './admission.ts';
import { badRequest, resourceName } from './status.ts';

/** Query parameters of list and watch requests (metav1.ListOptions), checked. */
export interface ListQuery {
  matches: ((object: KubeObject) => boolean) | undefined;
  limit: number | undefined;
  continueToken: string | undefined;
  resourceVersion: string | undefined;
  resourceVersionMatch: 'Exact' | 'NotOlderThan' | undefined;
  watch: boolean;
  timeoutSeconds: number | undefined;
  allowBookmarks: boolean;
  sendInitialEvents: boolean | undefined;
}

export type Query = (name: string) => string | undefined;

export function listQuery(query: Query, kind: Kind): ListQuery {
  const match = query('resourceVersionMatch') || undefined;
  const sendInitialEvents = flagOf(query, 'sendInitialEvents');
  const resourceVersion = query('resourceVersion') || undefined;
  const watch = flagOf(query, 'watch') ?? false;
  if (resourceVersion !== undefined && !/^\d{1,16}$/.test(resourceVersion)) {
    throw badRequest(`invalid resourceVersion "${resourceVersion.slice(0, 40)}": must be a whole number`);
  }
  if (match !== undefined && match !== 'Exact' && match !== 'NotOlderThan') {
    throw forbiddenOption('resourceVersionMatch', `"${match.slice(0, 40)}" is not Exact or NotOlderThan`);
  }
  if (watch && match !== undefined && sendInitialEvents === undefined) {
    throw forbiddenOption('resourceVersionMatch', 'is forbidden for watch unless sendInitialEvents is provided');
  }
  if (sendInitialEvents !== undefined && (!watch || match !== 'NotOlderThan')) {
    throw forbiddenOption('sendInitialEvents', 'needs watch=true and resourceVersionMatch=NotOlderThan');
  }
  return {
    matches: matcherOf(query, kind),
    limit: numberOf(query, 'limit'),
    continueToken: query('continue') || undefined,
    resourceVersion,
    resourceVersionMatch: match,
    watch,
    timeoutSeconds: numberOf(query, 'timeoutSeconds'),
    allowBookmarks: flagOf(query, 'allowWatchBookmarks') ?? false,
    sendInitialEvents,
  };
}

/** `dryRun=All`, or none. */
export function isDryRun(query: Query): boolean {
  const value = query('dryRun') || undefined;
  if (value === undefined || value === 'All') return value === 'All';
  throw new EbbError('Invalid', 422, `dryRun: Unsupported value: "${value.slice(0, 40)}": supported values: "All"`);
}

/** Kubernetes' default is Warn. */
export function fieldValidationOf(query: Query): FieldValidation {
  const value = query('fieldValidation') || 'Warn';
  if (value === 'Strict' || value === 'Warn' || value === 'Ignore') return value;
  throw badRequest(`fieldValidation "${value.slice(0, 40)}" is not Strict, Warn or Ignore`);
}

/** Who a write's fields belong to: as the query says, else the program that the user agent names. */
export function fieldManagerOf(query: Query, userAgent: string | undefined): string {
  const given = query('fieldManager') || undefined;
  if (given === undefined && userAgent === undefined) {
    throw forbiddenOption('fieldManager', 'is required for apply patch', 'PatchOptions', 'FieldValueRequired');
  }
  if (given !== undefined && !/^[\x20-\x7e]{1,128}$/.test(given)) {
    throw forbiddenOption(
      'fieldManager',
      'must be at most 128 printable characters',
      'PatchOptions',
      'FieldValueInvalid',
    );
  }
  return given ?? (/^[\x21-\x2e\x30-\x7e]{1,128}/.exec(userAgent ?? '')?.[0] || 'unknown');
}

/** `force`, which only an apply may have. */
export function forceOf(query: Query, isApply: boolean): boolean {
  const force = flagOf(query, 'force');
  if (force !== undefined && !isApply) {
    throw forbiddenOption('force', 'may not be specified for non-apply patch', 'PatchOptions');
  }
  return force ?? false;
}

function matcherOf(query: Query, kind: Kind): ListQuery['matches'] {
  const labels = parseLabelSelector(query('labelSelector'));
  const fields = parseFieldSelector(query('fieldSelector'));
  if (!labels && fields.length === 0) return undefined;
  const known = (object: KubeObject): Record<string, string> => ({
    'metadata.name': object.metadata.name,
    'metadata.namespace': object.metadata.namespace ?? '',
    ...kind.fields?.(object),
  });
  const selectable = selectableFields(kind);
  for (const { field } of fields) {
    if (selectable.has(field)) continue;
    const names = [...selectable].join(', ');
    throw badRequest(`field label not supported: ${field}: ${resourceName(kind)} can be selected by ${names}`);
  }
  return (object) => {
    if (labels && !labels(object.metadata.labels)) return false;
    if (fields.length === 0) return true;
    const values = known(object);
    return fields.every(({ field, op, value }) => (values[field] === value) === (op === '='));
  };
}

/** The names of a kind's selectable fields, learned from an empty object. */
function selectableFields(kind: Kind): Set<string> {
  const empty = { apiVersion: '', kind: '', metadata: { name: '' }, involvedObject: {} };
  return new Set(['metadata.name', 'metadata.namespace', ...Object.keys(kind.fields?.(empty) ?? {})]);
}

function flagOf(query: Query, name: string): boolean | undefined {
  const value = query(name);
  if (value === undefined) return undefined;
  if (['', '1', 'true', 'True', 'TRUE', 't', 'T'].includes(value)) return true;
  if (['0', 'false', 'False', 'FALSE', 'f', 'F'].includes(value)) return false;
  throw badRequest(`${name} "${value.slice(0, 40)}" is not true or false`);
}

export function numberOf(query: Query, name: string): number | undefined {
  const value = query(name);
  if (value === undefined || value === '') return undefined;
  if (!/^\d{1,12}$/.test(value)) throw badRequest(`${name} "${value.slice(0, 40)}" is not a whole number`);
  return Number(value);
}

export { flagOf };

function forbiddenOption(
  field: string,
  why: string,
  kind: 'ListOptions' | 'PatchOptions' = 'ListOptions',
  reason: 'FieldValueForbidden' | 'FieldValueRequired' | 'FieldValueInvalid' = 'FieldValueForbidden',
): EbbError {
  const word = {
    FieldValueForbidden: 'Forbidden',
    FieldValueRequired: 'Required value',
    FieldValueInvalid: 'Invalid value',
  };
  return new EbbError('Invalid', 422, `${kind}.meta.k8s.io "" is invalid: ${field}: ${word[reason]}: ${why}`, {
    details: { group: 'meta.k8s.io', kind, causes: [{ reason, message: why, field }] },
  });
}
