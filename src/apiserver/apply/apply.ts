import { EbbError } from '../../platform/errors.ts';
import type { Kind } from '../../resources/api.ts';
import { apiVersionOf, keys, type KubeObject } from '../../resources/index.ts';
import {
  empty,
  filter,
  intersect,
  pathsOf,
  pathText,
  subtract,
  union,
  type FieldPath,
  type FieldSet,
} from './field-set.ts';
import { managersOf, takeFrom, toManagedFields, withManager, type Manager } from './managers.ts';
import { fieldsOf, mergeTyped, sameAt, valueAt, withoutFields } from './typed.ts';

type Json = Record<string, unknown>;

export interface ApplyRequest {
  kind: Kind;
  /** The stored object; undefined when there is none yet. */
  live: KubeObject | undefined;
  /** What the applier wants: only fields that the schema knows, no nulls. */
  config: Json;
  /** `fieldManager`. */
  manager: string;
  /** Take fields from others instead of failing. */
  force: boolean;
  /** RFC 3339. */
  now: string;
}

export interface Applied {
  merged: Json;
  /** The managedFields of what became of `merged` by defaulting. Throws EbbError Conflict. */
  managedFields(admitted: KubeObject): unknown[];
}

/** Nobody's: they say which object it is, or are the server's (Kubernetes' stripped fields). */
const identity = new Set(['f:apiVersion', 'f:kind', 'f:status']);
const serverMetadata = new Set(
  [
    ...['name', 'namespace', 'uid', 'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp'],
    ...['deletionGracePeriodSeconds', 'generateName', 'managedFields'],
  ].map((name) => `f:${name}`),
);

/** To whom the fields belong that were there before anyone applied. */
const beforeFirstApply = 'before-first-apply';

/**
 * Server-side apply (KEP-555), pure: the live object with what the applier wants merged in, and without what it wanted
 * last time but no longer does, unless somebody else wants it, too. Other managers' fields with other values are
 * conflicts. Fields have managers from the first apply on; before, nobody asks and the objects are smaller.
 */
export function planApply(request: ApplyRequest): Applied {
  const { kind, live, config, manager, force, now } = request;
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const me: Omit<Manager, 'fields'> = { name: manager, operation: 'Apply', apiVersion, time: now };
  const wanted = ownable(fieldsOf(kind.schema, config));
  if (!live) {
    return { merged: config, managedFields: () => toManagedFields([{ ...me, fields: wanted }]) };
  }
  const managers = live.metadata.managedFields?.length ? managersOf(live) : firstManagers(request, live, me);
  const isMe = (m: Manager) => m.name === manager && m.operation === 'Apply';
  const others = managers.filter((m) => !isMe(m));
  const last = managers.find(isMe)?.fields ?? empty;
  const kept = others.reduce((sum, m) => union(sum, m.fields), wanted);
  const given = subtract(subtract(last, wanted), kept);
  const left = withoutFields(kind.schema, live, given, kept) as Json;
  const merged = mergeTyped(kind.schema, left, withLastApplied(config, live, manager)) as Json;

  return {
    merged,
    managedFields(admitted) {
      const differing = others.map((other) => ({
        ...other,
        fields: filter(intersect(wanted, other.fields), (path) => !sameAt(live, admitted, path)),
      }));
      const taken = differing.reduce((sum, m) => union(sum, m.fields), empty);
      if (!force) refuse(kind, live, differing);
      const rest = takeFrom(managers, taken, me);
      return toManagedFields(existing(withManager(rest, { ...me, fields: wanted }), admitted));
    },
  };
}

/**
 * The managedFields after a write that is not an apply: what it changed is the writer's. Undefined when fields have no
 * managers (yet).
 */
export function managedByUpdate(
  kind: Kind,
  live: KubeObject,
  next: KubeObject,
  writer: { name: string; now: string },
): unknown[] | undefined {
  if (!live.metadata.managedFields?.length) return undefined;
  const changed = filter(ownable(fieldsOf(kind.schema, next)), (path) => !sameAt(live, next, path));
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const me: Omit<Manager, 'fields'> = { name: writer.name, operation: 'Update', apiVersion, time: writer.now };
  const managers = takeFrom(managersOf(live), changed, me);
  const mine = managers.find((m) => m.name === writer.name && m.operation === 'Update')?.fields ?? empty;
  return toManagedFields(existing(withManager(managers, { ...me, fields: union(mine, changed) }), next));
}

/** All that is there is an unknown updater's; what kubectl applied on its own side is kubectl's, as it says itself. */
function firstManagers({ kind, manager }: ApplyRequest, live: KubeObject, me: Omit<Manager, 'fields'>): Manager[] {
  const all = ownable(fieldsOf(kind.schema, live));
  const lastApplied = manager === 'kubectl' ? lastAppliedOf(live) : undefined;
  const mine = lastApplied ? intersect(all, ownable(fieldsOf(kind.schema, lastApplied))) : empty;
  const before: Manager = { ...me, name: beforeFirstApply, operation: 'Update', fields: subtract(all, mine) };
  return lastApplied ? [before, { ...me, fields: mine }] : [before];
}

function lastAppliedOf(live: KubeObject): unknown {
  try {
    return JSON.parse(live.metadata.annotations?.[keys.lastApplied] ?? 'null') ?? undefined;
  } catch {
    return undefined; // any text may stand in an annotation
  }
}

/** kubectl may go back to applying on its own side: what it compares with must not be older than what it applied here. */
function withLastApplied(config: Json, live: KubeObject, manager: string): Json {
  if (manager !== 'kubectl' || live.metadata.annotations?.[keys.lastApplied] === undefined) return config;
  const metadata = (config['metadata'] ?? {}) as { annotations?: Record<string, string> };
  const annotations = { ...metadata.annotations, [keys.lastApplied]: `${JSON.stringify(config)}\n` };
  return { ...config, metadata: { ...metadata, annotations } };
}

function ownable(fields: FieldSet): FieldSet {
  return filter(fields, ([first = '', second = '', third]) => {
    if (identity.has(first) || (first === 'f:metadata' && (second === '' || serverMetadata.has(second)))) return false;
    return third !== `f:${keys.lastApplied}`;
  });
}

/** What is gone is nobody's. */
function existing(managers: readonly Manager[], object: KubeObject): Manager[] {
  const there = (path: FieldPath) => valueAt(object, path) !== undefined;
  return managers.map((m) => ({ ...m, fields: filter(m.fields, there) }));
}

function refuse(kind: Kind, live: KubeObject, conflicting: readonly Manager[]): void {
  const conflicts = conflicting.flatMap(({ name, apiVersion, fields }) =>
    [...pathsOf(fields)].map((path) => ({
      field: pathText(path),
      message: `conflict with "${name}" using ${apiVersion}`,
    })),
  );
  if (conflicts.length === 0) return;
  const count = conflicts.length === 1 ? '1 conflict' : `${conflicts.length} conflicts`;
  const lines = conflicts.map(({ field, message }) => `${message}: ${field}`).join('\n');
  const causes = conflicts.map((conflict) => ({ reason: 'FieldManagerConflict', ...conflict }));
  throw new EbbError('Conflict', 409, `Apply failed with ${count}: ${lines}`, {
    details: { name: live.metadata.name, group: kind.group, kind: kind.plural, causes },
  });
}
