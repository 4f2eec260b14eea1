import { Type } from 'typebox';
import { typeMeta, type KubeObject } from '../meta.ts';
import { text } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageColumn, fieldColumn, nameColumn } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

const Namespace = Type.Object(
  {
    ...typeMeta,
    spec: Type.Optional(
      Type.Object({
        finalizers: Type.Optional(
          Type.Array(Type.String(), { description: 'Not used: a namespace goes when it is empty.' }),
        ),
      }),
    ),
    status: Type.Optional(Type.Object({ phase: Type.Optional(text('Active or Terminating.')) })),
  },
  { description: 'A room of its own for names; deleting it deletes what is in it.' },
);

/** core/v1 Namespace. */
export const namespaceKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  singular: 'namespace',
  shortNames: ['ns'],
  categories: [],
  namespaced: false,
  status: true,
  verbs: allVerbs.filter((v) => v !== 'deletecollection'),
  strategicMerge: true,
  source: 'stored',
  schema: Namespace,
  columns: [nameColumn, fieldColumn('Status', 'status.phase', 'Active or Terminating.'), ageColumn],
  default: (object) => ({
    ...object,
    metadata: {
      ...object.metadata,
      // Kubernetes sets it so that selectors can name a namespace.
      labels: { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name },
    },
  }),
  validate: (object) => validateMetadata(object.metadata, 'dns1123-label'),
  // Clients take it for granted.
  permanent: ['default'],
  fields: (object) => ({ 'status.phase': phaseOf(object) }),
  present: (object) => Object.assign({}, object, { status: { phase: phaseOf(object) } }),
  stampsUser: false,
};

function phaseOf(object: KubeObject): 'Active' | 'Terminating' {
  return object.metadata.deletionTimestamp === undefined ? 'Active' : 'Terminating';
}
