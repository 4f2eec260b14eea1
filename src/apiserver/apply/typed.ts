import { isDeepStrictEqual } from 'node:util';
import type { TSchema } from 'typebox';
import { badRequest } from '../status.ts';
import { empty, filter, leaf, type FieldPath, type FieldSet } from './field-set.ts';

type Json = Record<string, unknown>;

/** How a value merges, by its schema. Whatever is none of the others is one value, taken or left as a whole. */
type Shape =
  | { is: 'object'; of: (name: string) => TSchema | undefined }
  | { is: 'list-map'; keys: readonly string[]; item: TSchema }
  | { is: 'list-set' }
  | { is: 'atomic' };

interface Node {
  type?: string;
  properties?: Record<string, TSchema>;
  additionalProperties?: TSchema;
  items?: TSchema;
  'x-kubernetes-list-type'?: 'map' | 'set' | 'atomic';
  'x-kubernetes-list-map-keys'?: readonly string[];
  'x-kubernetes-preserve-unknown-fields'?: boolean;
}

export function shapeOf(schema: TSchema | undefined): Shape {
  const node = (schema ?? {}) as Node;
  if (node.type === 'object') {
    const { properties = {}, additionalProperties } = node;
    return { is: 'object', of: (name) => (Object.hasOwn(properties, name) ? properties[name] : additionalProperties) };
  }
  if (node.type === 'array' && node['x-kubernetes-list-type'] === 'set') return { is: 'list-set' };
  if (node.type === 'array' && node['x-kubernetes-list-type'] === 'map' && node.items) {
    return { is: 'list-map', keys: node['x-kubernetes-list-map-keys'] ?? [], item: node.items };
  }
  return { is: 'atomic' };
}

/** The fields that a value sets. An object is its fields; only an empty one is a field itself. */
export function fieldsOf(schema: TSchema | undefined, value: unknown): FieldSet {
  const shape = shapeOf(schema);
  if (shape.is === 'object' && isObject(value)) {
    const children = Object.entries(value).map(([k, v]) => [`f:${k}`, fieldsOf(shape.of(k), v)] as const);
    return children.length === 0 ? leaf : { self: false, children: new Map(children) };
  }
  if (shape.is === 'list-map' && Array.isArray(value)) {
    const items = value.map((item): [string, FieldSet] => {
      const { children } = fieldsOf(shape.item, item);
      return [keyOf(shape.keys, item), { self: true, children }];
    });
    return items.length === 0 ? leaf : { self: false, children: new Map(items) };
  }
  if (shape.is === 'list-set' && Array.isArray(value) && value.length > 0) {
    return { self: false, children: new Map(value.map((v) => [`v:${JSON.stringify(v)}`, leaf])) };
  }
  return leaf;
}

/** What applying `config` makes of `live`: neither is changed. */
export function mergeTyped(schema: TSchema | undefined, live: unknown, config: unknown): unknown {
  const shape = shapeOf(schema);
  if (shape.is === 'object' && isObject(live) && isObject(config)) {
    const out: Json = { ...live };
    for (const [k, v] of Object.entries(config)) define(out, k, mergeTyped(shape.of(k), own(live, k), v));
    return out;
  }
  if (shape.is === 'list-map' && Array.isArray(live) && Array.isArray(config)) {
    const merged = new Map(live.map((item): [string, unknown] => [keyOf(shape.keys, item), item]));
    for (const item of config) {
      const key = keyOf(shape.keys, item);
      merged.set(key, mergeTyped(shape.item, merged.get(key), item));
    }
    return [...merged.values()];
  }
  if (shape.is === 'list-set' && Array.isArray(live) && Array.isArray(config))
    return [...new Set([...live, ...config])];
  return config;
}

/**
 * `value` without the fields of a set. An object or list that becomes empty by it goes, too; an item of a list goes with
 * its own element alone, unless something in it is `kept`.
 */
export function withoutFields(schema: TSchema | undefined, value: unknown, fields: FieldSet, kept: FieldSet): unknown {
  const shape = shapeOf(schema);
  const none = (list: FieldSet, element: string) => list.children.get(element) ?? empty;
  if (shape.is === 'object' && isObject(value)) {
    const out: Json = {};
    for (const [k, v] of Object.entries(value)) {
      const at = none(fields, `f:${k}`);
      const left = at.children.size > 0 ? withoutFields(shape.of(k), v, at, none(kept, `f:${k}`)) : v;
      if (left !== undefined && !(at.self && at.children.size === 0)) define(out, k, left);
    }
    return Object.keys(out).length === 0 && Object.keys(value).length > 0 ? undefined : out;
  }
  if (!Array.isArray(value) || (shape.is !== 'list-map' && shape.is !== 'list-set')) return value;
  const left = value.flatMap((item: unknown): unknown[] => {
    if (shape.is === 'list-set') return none(fields, `v:${JSON.stringify(item)}`).self ? [] : [item];
    const key = keyOf(shape.keys, item);
    const at = none(fields, key);
    if (at.self && none(kept, key) === empty) return [];
    // The keys stay as long as the item does.
    const inner = filter(at, (path) => !shape.keys.includes(path[0]?.slice(2) ?? ''));
    return [inner.children.size > 0 ? (withoutFields(shape.item, item, inner, none(kept, key)) ?? item) : item];
  });
  return left.length === 0 && value.length > 0 ? undefined : left;
}

/** What is at a path; undefined when there is nothing. */
export function valueAt(value: unknown, path: FieldPath): unknown {
  let at = value;
  for (const element of path) {
    const text = element.slice(2);
    if (element.startsWith('f:')) at = isObject(at) ? own(at, text) : undefined;
    else if (!Array.isArray(at)) return undefined;
    else if (element.startsWith('v:')) at = at.find((v) => JSON.stringify(v) === text);
    else {
      const keys = JSON.parse(text) as Json;
      at = at.find((item) => isObject(item) && Object.entries(keys).every(([k, v]) => own(item, k) === v));
    }
  }
  return at;
}

/** Whether a field says the same in two objects. An item of a list is only its being there: its fields are fields. */
export function sameAt(a: unknown, b: unknown, path: FieldPath): boolean {
  const [x, y] = [valueAt(a, path), valueAt(b, path)];
  if (path.at(-1)?.startsWith('k:')) return (x === undefined) === (y === undefined);
  return isDeepStrictEqual(x, y);
}

function keyOf(keys: readonly string[], item: unknown): string {
  const pairs = [...keys].sort().map((key): [string, unknown] => {
    const value = isObject(item) ? own(item, key) : undefined;
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return [key, value];
    if (key === 'protocol') return [key, 'TCP'];
    throw badRequest(`an item of a list that is merged by ${keys.join(' and ')} has no ${key}`);
  });
  return `k:${JSON.stringify(Object.fromEntries(pairs))}`;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const own = (object: Json, key: string) => (Object.hasOwn(object, key) ? object[key] : undefined);

/** Plain assignment, safe for `__proto__`. */
function define(object: Json, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}
