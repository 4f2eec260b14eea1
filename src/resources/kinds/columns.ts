import { humanDuration } from '../durations.ts';
import { getCondition } from '../conditions.ts';
import type { Condition, KubeObject } from '../meta.ts';
import type { Column } from './kind.ts';

export const nameColumn: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name of the object.',
  value: (o) => o.metadata.name,
};

export const ageColumn: Column = {
  name: 'Age',
  type: 'string',
  description: 'Time since the object was created.',
  value: (o, nowMs) => ageOf(o.metadata.creationTimestamp, nowMs),
};

export function ageOf(time: string | undefined, nowMs: number): string {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) ? '<unknown>' : humanDuration(nowMs - at);
}

/** A field of the object by its path, shown as it is. */
export function fieldColumn(name: string, path: string, description: string, extra: Partial<Column> = {}): Column {
  return {
    name,
    type: 'string',
    description,
    value(object) {
      let value: unknown = object;
      for (const part of path.split('.')) value = (value as Record<string, unknown> | null | undefined)?.[part];
      return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : undefined;
    },
    ...extra,
  };
}

/** A label's value. */
export function labelColumn(name: string, key: string, description: string): Column {
  return { name, type: 'string', description, value: (o) => o.metadata.labels?.[key] };
}

/** The status, and the reason, of the Ready condition: the last two columns of each serving kind. */
export const readyColumns: readonly Column[] = [
  { name: 'Ready', type: 'string', description: 'Whether it can serve.', value: (o) => readyOf(o)?.status },
  { name: 'Reason', type: 'string', description: 'Why it cannot.', value: (o) => readyOf(o)?.reason },
];

function readyOf(object: KubeObject): Condition | undefined {
  return getCondition((object as KubeObject & { status?: { conditions?: Condition[] } }).status?.conditions, 'Ready');
}
