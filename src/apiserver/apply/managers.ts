import type { KubeObject } from '../../resources/index.ts';
import { equal, fromFieldsV1, isEmpty, subtract, toFieldsV1, union, type FieldSet } from './field-set.ts';

/** Who set which fields: one entry of `metadata.managedFields`. */
export interface Manager {
  name: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  /** RFC 3339: when the set last changed. */
  time: string;
  fields: FieldSet;
}

/** Updaters that are remembered one by one (Kubernetes: 10); the oldest above that become one. */
const maxUpdaters = 10;
const ancient = 'ancient-changes';

export function managersOf(object: KubeObject): Manager[] {
  return (object.metadata.managedFields ?? []).map((entry) => {
    // Only Ebb writes these: what clients send is dropped before it is stored.
    const { manager, operation, apiVersion, time, fieldsV1 } = entry as Record<string, string> & { fieldsV1: unknown };
    return {
      name: manager ?? '',
      operation: operation === 'Apply' ? 'Apply' : 'Update',
      apiVersion: apiVersion ?? '',
      time: time ?? '',
      fields: fromFieldsV1(fieldsV1),
    };
  });
}

export function toManagedFields(managers: readonly Manager[]): unknown[] {
  return capped(managers.filter((m) => !isEmpty(m.fields))).map(({ name, operation, apiVersion, time, fields }) => ({
    manager: name,
    operation,
    apiVersion,
    time,
    fieldsType: 'FieldsV1',
    fieldsV1: toFieldsV1(fields),
  }));
}

/** The managers with the fields of one of them made others. Its time moves only when they are. */
export function withManager(managers: readonly Manager[], manager: Manager): Manager[] {
  const same = (m: Manager) => m.name === manager.name && m.operation === manager.operation;
  const before = managers.find(same);
  if (!before) return [...managers, manager];
  if (equal(before.fields, manager.fields)) return [...managers];
  return managers.map((m) => (same(m) ? manager : m));
}

/** Takes fields from every manager but one. */
export function takeFrom(managers: readonly Manager[], fields: FieldSet, except: Pick<Manager, 'name' | 'operation'>) {
  return managers.map((m) =>
    m.name === except.name && m.operation === except.operation ? m : { ...m, fields: subtract(m.fields, fields) },
  );
}

function capped(managers: readonly Manager[]): Manager[] {
  const updaters = managers.filter((m) => m.operation === 'Update').sort((a, b) => (a.time < b.time ? -1 : 1));
  const [first, ...others] = updaters.slice(0, Math.max(0, updaters.length - maxUpdaters + 1));
  if (!first || others.length === 0) return [...managers];
  const fields = others.reduce((sum, m) => union(sum, m.fields), first.fields);
  const old = new Set([first, ...others]);
  return [...managers.filter((m) => !old.has(m)), { ...first, name: ancient, fields }];
}
