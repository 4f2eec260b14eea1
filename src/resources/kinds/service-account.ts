import { Type } from 'typebox';
import { typeMeta, type KubeObject } from '../meta.ts';
import { flag, listMap, text } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageColumn, nameColumn } from './columns.ts';
import { ObjectReference } from './event.ts';
import { allVerbs, type Kind } from './kind.ts';

const ServiceAccount = Type.Object(
  {
    ...typeMeta,
    secrets: Type.Optional(listMap(ObjectReference, ['name'], 'Secrets that its apps may use.')),
    imagePullSecrets: Type.Optional(
      listMap(
        Type.Object({ name: Type.Optional(text('Name of the Secret.')) }),
        ['name'],
        'Secrets to log in to registries with.',
      ),
    ),
    automountServiceAccountToken: Type.Optional(flag('Whether apps are given a token. None is mounted unasked.')),
  },
  { description: 'Who an app is.' },
);

/** core/v1 ServiceAccount. */
export const serviceAccountKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'ServiceAccount',
  plural: 'serviceaccounts',
  singular: 'serviceaccount',
  shortNames: ['sa'],
  categories: [],
  namespaced: true,
  status: false,
  verbs: allVerbs,
  strategicMerge: true,
  source: 'stored',
  schema: ServiceAccount,
  columns: [
    nameColumn,
    {
      name: 'Secrets',
      type: 'integer',
      description: 'How many Secrets it names.',
      value: (o) => (o as KubeObject & { secrets?: unknown[] }).secrets?.length ?? 0,
    },
    ageColumn,
  ],
  validate: (object) => validateMetadata(object.metadata, 'dns1123-subdomain'),
  inEveryNamespace: ['default'],
  stampsUser: false,
};
