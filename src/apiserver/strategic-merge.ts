import type { TSchema } from 'typebox';
import { badRequest } from './status.ts';

type Json = Record<string, unknown>;

interface Node {
  properties?: Record<string, TSchema>;
  additionalProperties?: TSchema;
  items?: TSchema;
  'x-kubernetes-patch-strategy'?: 'merge';
  'x-kubernetes-patch-merge-key'?: string;
}

/**
 * Kubernetes' strategic merge patch (api-conventions and "strategic-merge-patch.md"): maps merge, null deletes, lists
 * merge by the key or as the set that their schema says and are replaced otherwise. The directives `$patch`,
 * `$retainKeys`, `$deleteFromPrimitiveList/...` and `$setElementOrder/...` are obeyed. Changes neither argument.
 */
export function mergeStrategic(schema: TSchema | undefined, target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const { properties = {}, additionalProperties } = (schema ?? {}) as Node;
  const schemaOf = (key: string) => (Object.hasOwn(properties, key) ? properties[key] : additionalProperties);
  const directive = patch['$patch'];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge') throw badRequest('$patch must be merge, replace or delete');

  const out: Json = isObject(target) ? { ...target } : {};
  const retained = patch['$retainKeys'];
  if (Array.isArray(retained)) for (const key of Object.keys(out)) if (!retained.includes(key)) delete out[key];
  for (const [key, value] of Object.entries(patch)) {
    const deleted = /^\$deleteFromPrimitiveList\/(.+)$/s.exec(key)?.[1];
    const list = deleted === undefined ? undefined : own(out, deleted);
    if (deleted !== undefined && Array.isArray(list) && Array.isArray(value)) {
      const left = list.filter((item) => !value.includes(item));
      set(out, deleted, left);
    }
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$')) continue;
    if (value === null || (isObject(value) && value['$patch'] === 'delete')) delete out[key];
    else if (Array.isArray(value)) set(out, key, mergeList(schemaOf(key), own(out, key), value));
    else set(out, key, mergeStrategic(schemaOf(key), own(out, key), value));
  }
  for (const [key, order] of Object.entries(patch)) {
    const ordered = /^\$setElementOrder\/(.+)$/s.exec(key)?.[1];
    const list = ordered === undefined ? undefined : own(out, ordered);
    if (ordered === undefined || !Array.isArray(list) || !Array.isArray(order)) continue;
    const { 'x-kubernetes-patch-merge-key': mergeKey } = (schemaOf(ordered) ?? {}) as Node;
    const before = isObject(target) ? own(target, ordered) : undefined;
    set(out, ordered, inOrder(list, order, Array.isArray(before) ? before : [], mergeKey));
  }
  return out;
}

function mergeList(schema: TSchema | undefined, target: unknown, patch: unknown[]): unknown[] {
  const node = (schema ?? {}) as Node;
  const mergeKey = node['x-kubernetes-patch-merge-key'];
  const items = patch.filter((item) => !(isObject(item) && item['$patch'] === 'replace'));
  const current = Array.isArray(target) && items.length === patch.length ? (target as unknown[]) : [];
  if (node['x-kubernetes-patch-strategy'] !== 'merge') return items.map(withoutDirectives);
  if (mergeKey === undefined) return [...new Set([...current, ...items])];
  const merged = new Map(current.map((item, i): [unknown, unknown] => [idOf(item, mergeKey) ?? i, item]));
  for (const item of items) {
    const id = idOf(item, mergeKey);
    if (id === undefined) throw badRequest(`an item of a list that is merged by ${mergeKey} has no ${mergeKey}`);
    if (isObject(item) && item['$patch'] === 'delete') merged.delete(id);
    else merged.set(id, mergeStrategic(node.items, merged.get(id), item));
  }
  return [...merged.values()];
}

/** The items named in `order` in that order; those that only the server has stay where they were among them. */
function inOrder(list: unknown[], order: unknown[], before: unknown[], mergeKey: string | undefined): unknown[] {
  const id = (item: unknown) => (mergeKey === undefined ? item : idOf(item, mergeKey));
  const places = (items: unknown[]) => new Map(items.map((item, i) => [id(item), i]));
  const [wanted, was] = [places(order), places(before)];
  const named = list.filter((item) => wanted.has(id(item)));
  named.sort((a, b) => (wanted.get(id(a)) ?? 0) - (wanted.get(id(b)) ?? 0));
  const out: unknown[] = [];
  for (const item of list.filter((i) => !wanted.has(id(i)))) {
    const place = was.get(id(item)) ?? Infinity;
    while (named[0] !== undefined && (was.get(id(named[0])) ?? Infinity) < place) out.push(named.shift());
    out.push(item);
  }
  return [...out, ...named];
}

function idOf(item: unknown, mergeKey: string): string | undefined {
  const value = isObject(item) ? own(item, mergeKey) : undefined;
  return typeof value === 'string' || typeof value === 'number' ? `${typeof value} ${value}` : undefined;
}

function withoutDirectives(patch: unknown): unknown {
  return isObject(patch) ? Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$'))) : patch;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const own = (object: Json, key: string) => (Object.hasOwn(object, key) ? object[key] : undefined);

/** Plain assignment, safe for `__proto__`. */
function set(object: Json, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}
