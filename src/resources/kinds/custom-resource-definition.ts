import { Type } from 'typebox';
import { typeMeta } from '../meta.ts';
import { freeform } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';
import type { Kind } from './kind.ts';

/** apiextensions.k8s.io/v1 CustomResourceDefinition: which kinds there are, read-only. */
export const customResourceDefinitionKind: Kind = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  singular: 'customresourcedefinition',
  shortNames: ['crd', 'crds'],
  categories: [],
  namespaced: false,
  status: false,
  verbs: ['get', 'list', 'watch'],
  strategicMerge: true,
  source: 'kinds',
  schema: Type.Object(
    {
      ...typeMeta,
      spec: Type.Optional(freeform('The kind, its names and its schema.')),
      status: Type.Optional(freeform('Whether the kind can be used.')),
    },
    { description: 'A kind that the server knows. Read-only: kinds come with Ebb.' },
  ),
  columns: [nameColumn, { ...ageColumn, name: 'Created At', value: (o) => o.metadata.creationTimestamp }],
  validate: () => [],
  stampsUser: false,
};
