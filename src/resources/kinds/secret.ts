import { Type, type Static } from 'typebox';
import { generic } from '../field-error.ts';
import { typeMeta, type KubeObject } from '../meta.ts';
import { flag, stringMap, text } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageColumn, fieldColumn, nameColumn } from './columns.ts';
import { validateBase64, validateImmutable } from './config-map.ts';
import { allVerbs, type Kind } from './kind.ts';

const Secret = Type.Object(
  {
    ...typeMeta,
    data: Type.Optional(stringMap('Keys and bytes, as base64.')),
    stringData: Type.Optional(stringMap('Keys and texts; written into data, never shown.')),
    type: Type.Optional(text('What it is for; Opaque unless set.')),
    immutable: Type.Optional(flag('Whether the data can no longer be changed.')),
  },
  { description: 'Confidential data for apps to use.' },
);
export interface Secret extends KubeObject, Omit<Static<typeof Secret>, 'apiVersion' | 'kind' | 'metadata'> {}

/** core/v1 Secret. */
export const secretKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  singular: 'secret',
  shortNames: [],
  categories: [],
  namespaced: true,
  status: false,
  verbs: allVerbs,
  strategicMerge: true,
  source: 'stored',
  schema: Secret,
  columns: [
    nameColumn,
    fieldColumn('Type', 'type', 'What it is for.'),
    {
      name: 'Data',
      type: 'integer',
      description: 'How many keys it has.',
      value: (o) => Object.keys((o as Secret).data ?? {}).length,
    },
    ageColumn,
  ],
  fields: (object) => ({ type: (object as Secret).type ?? '' }),
  default(object) {
    const { stringData, ...secret } = object as Secret;
    const encoded = Object.entries(stringData ?? {}).map(([k, v]) => [k, Buffer.from(v).toString('base64')] as const);
    return {
      ...secret,
      type: secret.type || 'Opaque',
      ...(secret.data || encoded.length > 0 ? { data: { ...secret.data, ...Object.fromEntries(encoded) } } : {}),
    };
  },
  validate(object, previous) {
    const { data = {}, metadata, type } = object as Secret;
    const before = previous as Secret | undefined;
    return [
      ...validateMetadata(metadata, 'dns1123-subdomain'),
      ...validateBase64(data, 'data'),
      ...validateImmutable(object, before),
      ...(before && before.type !== type ? [generic('field is immutable', 'type')] : []),
    ];
  },
  stampsUser: false,
};
