import type { TSchema } from 'typebox';
import type { FieldError } from './field-error.ts';

/** Schema keyword: names of fields that are refused rather than unknown. */
export const refusedKeyword = 'x-ebb-refused';

export interface CheckResult {
  /** The given value without unknown fields and nulls. The given one is untouched. */
  value: unknown;
  /** Paths of fields that the schema does not have. */
  unknown: string[];
  /** Wrong types, missing fields, fields that exist in Kubernetes but are refused. */
  errors: FieldError[];
}

/** The keywords that the schemas of this folder use (schema.ts); typebox's own types hide most of them. */
interface Node {
  type?: string;
  properties?: Record<string, Node>;
  required?: string[];
  items?: Node;
  additionalProperties?: Node;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  [refusedKeyword]?: string[];
}

/** More errors than this help nobody. */
const maxReports = 50;

/**
 * Checks the shape of a value from outside against a schema, as Kubernetes does for its structural schemas: null is the
 * same as absent, unknown fields are pruned and named. Depth is bounded by the schema: what it does not know is not entered.
 */
export function checkShape(schema: TSchema, value: unknown): CheckResult {
  const result: CheckResult = { value: undefined, unknown: [], errors: [] };
  result.value = walk(schema as Node, value, '', result);
  return result;
}

function walk(node: Node, value: unknown, path: string, result: CheckResult): unknown {
  const wrong = (expected: string): undefined => {
    report(result.errors, {
      message: `invalid type: ${typeOf(value)}, must be ${expected}`,
      paths: [path === '' ? '(root)' : path],
      reason: 'FieldValueTypeInvalid',
    });
    return undefined;
  };
  if (node['x-kubernetes-int-or-string']) {
    return typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value))
      ? value
      : wrong('a number or a string');
  }
  switch (node.type) {
    case 'object':
      return isObject(value) ? walkObject(node, value, path, result) : wrong('an object');
    case 'array':
      if (!Array.isArray(value)) return wrong('an array');
      return value.map((item, i) => (node.items ? walk(node.items, item, `${path}[${i}]`, result) : item));
    case 'string':
      return typeof value === 'string' ? value : wrong('a string (numbers and booleans need quotes)');
    case 'integer':
      return Number.isSafeInteger(value) ? value : wrong('a whole number');
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) ? value : wrong('a number');
    case 'boolean':
      return typeof value === 'boolean' ? value : wrong('true or false');
    default:
      return value;
  }
}

function walkObject(node: Node, value: Record<string, unknown>, path: string, result: CheckResult): unknown {
  const out: Record<string, unknown> = {};
  const properties = node.properties ?? {};
  for (const [name, child] of Object.entries(value)) {
    const at = path === '' ? name : `${path}.${name}`;
    // Own properties only: a field called `constructor` or `__proto__` is an unknown field like any other.
    const known = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (known) {
      if (child !== null && child !== undefined) define(out, name, walk(known, child, at, result));
    } else if (node.additionalProperties) {
      if (child !== null) define(out, name, walk(node.additionalProperties, child, `${path}[${name}]`, result));
    } else if (node['x-kubernetes-preserve-unknown-fields']) {
      define(out, name, child);
    } else if (node[refusedKeyword]?.includes(name)) {
      report(result.errors, { message: 'must not set the field(s)', paths: [at], reason: 'FieldValueForbidden' });
    } else if (result.unknown.length < maxReports) {
      result.unknown.push(at);
    }
  }
  for (const name of node.required ?? []) {
    if (Object.hasOwn(out, name) || (Object.hasOwn(value, name) && value[name] !== null)) continue;
    const at = path === '' ? name : `${path}.${name}`;
    report(result.errors, { message: 'missing field(s)', paths: [at], reason: 'FieldValueRequired' });
  }
  return out;
}

/** Plain assignment, safe for `__proto__`. */
function define(out: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(out, name, { value, enumerable: true, writable: true, configurable: true });
}

function report(errors: FieldError[], error: FieldError): void {
  if (errors.length < maxReports) errors.push(error);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  return `${typeof value} ${JSON.stringify(value).slice(0, 64)}`;
}
