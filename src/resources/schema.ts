import { Type, type Static, type TSchema } from 'typebox';
import { refusedKeyword } from './check.ts';

/**
 * What the schemas of this folder are made of. They are typebox types, so each is a JSON Schema at run time and a type
 * at compile time; the keywords used are those of Kubernetes' structural schemas, which `check.ts` walks and OpenAPI shows.
 */

/** `{ [key]: string }`: labels, annotations. */
export const stringMap = (description: string) => mapOf(Type.String(), description);

export function mapOf<T extends TSchema>(value: T, description: string) {
  // Not Type.Record: that becomes patternProperties, which OpenAPI v3.0 and Kubernetes' structural schemas don't have.
  return Type.Unsafe<Record<string, Static<T>>>({ type: 'object', additionalProperties: value, description });
}

export const intOrString = (description: string) =>
  Type.Unsafe<number | string>({
    'x-kubernetes-int-or-string': true,
    anyOf: [{ type: 'integer' }, { type: 'string' }],
    description,
  });

/** A Kubernetes quantity. Written as a number or a string; defaulting makes it a string. */
export const quantity = () =>
  Type.Unsafe<string>({ 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'number' }, { type: 'string' }] });

/**
 * A list whose items are told apart by the values of some fields: appliers own single items of it, and patches merge
 * into the item with the same first key (Kubernetes' `listType=map` and `patchMergeKey`). Other lists are one value.
 */
export const listMap = <T extends TSchema>(item: T, mapKeys: readonly string[], description: string) =>
  Type.Array(item, {
    description,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': mapKeys,
    'x-kubernetes-patch-strategy': 'merge',
    'x-kubernetes-patch-merge-key': mapKeys[0],
  });

/** A list of texts, each there once; the order says nothing (Kubernetes' `listType=set`). */
export const listSet = (description: string) =>
  Type.Array(Type.String(), {
    description,
    'x-kubernetes-list-type': 'set',
    'x-kubernetes-patch-strategy': 'merge',
  });

/** Any JSON object, kept as it is. */
export const freeform = (description: string) =>
  Type.Unsafe<Record<string, unknown>>({ type: 'object', 'x-kubernetes-preserve-unknown-fields': true, description });

export const time = (description: string) => Type.String({ format: 'date-time', description });
export const int32 = (description: string) => Type.Integer({ format: 'int32', description });
export const int64 = (description: string) => Type.Integer({ format: 'int64', description });
export const text = (description: string) => Type.String({ description });
export const flag = (description: string) => Type.Boolean({ description });

/**
 * Options of an object schema: fields that exist in Kubernetes but are refused here, so that they are told apart from
 * misspelled ones. Not published.
 */
export const refusing = (...fields: string[]) => ({ [refusedKeyword]: fields });
