import type { Kind } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';

export type IncludeObject = 'Metadata' | 'Object' | 'None';

/** In which form a client asks for objects: as they are, as rows of a table, or their metadata alone. */
export type Form = { as: 'object' } | { as: 'table'; include: IncludeObject } | { as: 'metadata' };

/** Reads `Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json` and `includeObject`. */
export function formOf(accept: string | undefined, includeObject: string | undefined): Form | undefined {
  if (accept === undefined || accept.trim() === '') return { as: 'object' };
  for (const range of accept.split(',')) {
    const [type = '', ...parameters] = range.split(';').map((p) => p.trim());
    if (!['application/json', 'application/*', '*/*'].includes(type.toLowerCase())) continue;
    const values = new Map(parameters.map((p) => p.split('=', 2) as [string, string | undefined]));
    const as = values.get('as');
    if (as === undefined) return { as: 'object' };
    if (values.get('g') !== 'meta.k8s.io' || values.get('v') !== 'v1') continue;
    if (as === 'Table') {
      const include = includeObject === 'Object' || includeObject === 'None' ? includeObject : 'Metadata';
      return { as: 'table', include };
    }
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return { as: 'metadata' };
  }
  return undefined;
}

/** metav1.Table of some objects, as `kubectl get` prints it. `columns` false leaves the definitions out (later watch events). */
export function tableOf(
  kind: Kind,
  objects: readonly KubeObject[],
  metadata: Record<string, unknown>,
  include: IncludeObject,
  nowMs: number,
  columns = true,
): unknown {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    columnDefinitions: columns
      ? kind.columns.map(({ name, type, format = '', description, priority = 0 }) => {
          return { name, type, format, description, priority };
        })
      : [],
    rows: objects.map((object) => ({
      cells: kind.columns.map((column) => column.value(object, nowMs) ?? null),
      ...(include === 'None' ? {} : { object: include === 'Object' ? object : metadataOf(object) }),
    })),
  };
}

export function metadataOf(object: KubeObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
}
