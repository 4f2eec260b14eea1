/**
 * A set of fields of an object, as a tree of path elements in the words of Kubernetes' FieldsV1: `f:NAME` is a field,
 * `k:{"name":"a"}` an item of a list by its keys, `v:"x"` a value of a set. Immutable.
 */
export interface FieldSet {
  /** Whether the field that this node stands for is itself in the set. */
  self: boolean;
  children: ReadonlyMap<string, FieldSet>;
}

/** One field: the elements on the way to it. */
export type FieldPath = readonly string[];

export const empty: FieldSet = { self: false, children: new Map() };
export const leaf: FieldSet = { self: true, children: new Map() };

export const isEmpty = (set: FieldSet): boolean => !set.self && set.children.size === 0;

export function union(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x || y);
}

export function intersect(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && y);
}

export function subtract(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && !y);
}

export function equal(a: FieldSet, b: FieldSet): boolean {
  return isEmpty(subtract(a, b)) && isEmpty(subtract(b, a));
}

function combine(a: FieldSet, b: FieldSet, rule: (x: boolean, y: boolean) => boolean): FieldSet {
  const children = new Map<string, FieldSet>();
  for (const element of new Set([...a.children.keys(), ...b.children.keys()])) {
    const child = combine(a.children.get(element) ?? empty, b.children.get(element) ?? empty, rule);
    if (!isEmpty(child)) children.set(element, child);
  }
  return { self: rule(a.self, b.self), children };
}

/** Only the fields that `keep` holds of. */
export function filter(set: FieldSet, keep: (path: FieldPath) => boolean, path: FieldPath = []): FieldSet {
  const children = new Map<string, FieldSet>();
  for (const [element, child] of set.children) {
    const kept = filter(child, keep, [...path, element]);
    if (!isEmpty(kept)) children.set(element, kept);
  }
  return { self: set.self && keep(path), children };
}

export function* pathsOf(set: FieldSet, path: FieldPath = []): Generator<FieldPath> {
  if (set.self) yield path;
  for (const [element, child] of set.children) yield* pathsOf(child, [...path, element]);
}

/** FieldsV1: a leaf is `{}`; a node that is itself in the set and has children says so by `.`. */
export function toFieldsV1(set: FieldSet): Record<string, unknown> {
  const entries = [...set.children].map(([element, child]) => [element, toFieldsV1(child)] as const);
  return Object.fromEntries(set.self && entries.length > 0 ? [['.', {}], ...entries] : entries);
}

export function fromFieldsV1(value: unknown, root = true): FieldSet {
  const entries = Object.entries(typeof value === 'object' && value !== null ? value : {});
  const children = new Map(entries.filter(([e]) => e !== '.').map(([e, child]) => [e, fromFieldsV1(child, false)]));
  return { self: !root && (children.size === 0 || entries.length > children.size), children };
}

/** `.spec.ports[port=80,protocol="TCP"].name`: how messages name a field. */
export function pathText(path: FieldPath): string {
  return path.map(elementText).join('');
}

function elementText(element: string): string {
  const text = element.slice(2);
  if (element.startsWith('f:')) return `.${text}`;
  if (element.startsWith('v:')) return `[=${text}]`;
  const keys = Object.entries(JSON.parse(text) as Record<string, unknown>);
  return `[${keys.map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(',')}]`;
}
