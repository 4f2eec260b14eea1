import { Type, type Static } from 'typebox';
import { forbidden, generic, invalidKey, type FieldError } from '../field-error.ts';
import { typeMeta, type KubeObject } from '../meta.ts';
import { flag, stringMap } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

const ConfigMap = Type.Object(
  {
    ...typeMeta,
    data: Type.Optional(stringMap('Keys and texts.')),
    binaryData: Type.Optional(stringMap('Keys and bytes, as base64.')),
    immutable: Type.Optional(flag('Whether the data can no longer be changed.')),
  },
  { description: 'Configuration for apps to use.' },
);
export interface ConfigMap extends KubeObject, Omit<Static<typeof ConfigMap>, 'apiVersion' | 'kind' | 'metadata'> {}

/** Kubernetes' bound on the data of a ConfigMap or Secret. */
export const maxDataBytes = 1024 * 1024;

/** core/v1 ConfigMap. */
export const configMapKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  singular: 'configmap',
  shortNames: ['cm'],
  categories: [],
  namespaced: true,
  status: false,
  verbs: allVerbs,
  strategicMerge: true,
  source: 'stored',
  schema: ConfigMap,
  columns: [
    nameColumn,
    {
      name: 'Data',
      type: 'integer',
      description: 'How many keys it has.',
      value: (o) => Object.keys({ ...(o as ConfigMap).data, ...(o as ConfigMap).binaryData }).length,
    },
    ageColumn,
  ],
  validate(object, previous) {
    const { data = {}, binaryData = {}, metadata } = object as ConfigMap;
    const both = Object.keys(data).filter((k) => Object.hasOwn(binaryData, k));
    return [
      ...validateMetadata(metadata, 'dns1123-subdomain'),
      ...validateData(data, 'data'),
      ...validateBase64(binaryData, 'binaryData'),
      ...both.map((k) => generic('is in data and in binaryData', `data[${k}]`)),
      ...validateImmutable(object as ConfigMap, previous as ConfigMap | undefined),
    ];
  },
  stampsUser: false,
};

export function validateData(data: Record<string, string>, path: string): FieldError[] {
  const bytes = Object.values(data).reduce((sum, value) => sum + Buffer.byteLength(value), 0);
  return [
    ...Object.keys(data)
      .filter((key) => !/^[-._a-zA-Z0-9]{1,253}$/.test(key) || key === '.' || key === '..')
      .map((key) => invalidKey(key, path, "a key must consist of alphanumeric characters, '-', '_' or '.'")),
    ...(bytes > maxDataBytes ? [generic(`must be at most ${maxDataBytes} bytes together, got ${bytes}`, path)] : []),
  ];
}

export function validateBase64(data: Record<string, string>, path: string): FieldError[] {
  return [
    ...validateData(data, path),
    ...Object.entries(data)
      .filter(([, value]) => value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
      // The value may be a secret: it is not repeated.
      .map(([key]) => generic('must be base64', `${path}[${key}]`)),
  ];
}

type Immutable = KubeObject & { immutable?: boolean };

/** Once immutable is true neither it nor the data can change. */
export function validateImmutable(next: Immutable, previous: Immutable | undefined): FieldError[] {
  if (previous?.immutable !== true) return [];
  const content = (o: Immutable) => JSON.stringify({ ...o, metadata: undefined });
  return content(next) === content(previous)
    ? []
    : [{ ...forbidden('data'), details: 'field is immutable when `immutable` is set' }];
}
