import { Type, type Static } from 'typebox';
import { typeMeta, type KubeObject } from '../meta.ts';
import { flag, int32, intOrString, listMap, stringMap, text } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageColumn, fieldColumn, nameColumn } from './columns.ts';
import type { Kind } from './kind.ts';

const ServicePort = Type.Object({
  name: Type.Optional(text('Name of the port.')),
  protocol: Type.Optional(text('TCP.')),
  appProtocol: Type.Optional(text('What is spoken.')),
  port: int32('The port that clients use.'),
  targetPort: Type.Optional(intOrString('The port behind it.')),
});

const CoreServiceSchema = Type.Object(
  {
    ...typeMeta,
    spec: Type.Optional(
      Type.Object({
        type: Type.Optional(text('ExternalName.')),
        externalName: Type.Optional(text('The host that the name stands for.')),
        ports: Type.Optional(listMap(ServicePort, ['port', 'protocol'], 'Ports of the service.')),
        selector: Type.Optional(stringMap('Not used.')),
        sessionAffinity: Type.Optional(text('None.')),
        publishNotReadyAddresses: Type.Optional(flag('Not used.')),
      }),
    ),
    status: Type.Optional(
      Type.Object({
        loadBalancer: Type.Optional(Type.Object({}, { description: 'Not used.' })),
      }),
    ),
  },
  { description: 'The name of a Route, or of one of its tags, inside the cluster. Read-only: routes make them.' },
);
export interface CoreService extends KubeObject, Pick<Static<typeof CoreServiceSchema>, 'spec' | 'status'> {}

const specOf = (object: KubeObject) => (object as CoreService).spec ?? {};

/** core/v1 Service: what Knative calls the placeholder of a Route. There is no cluster network to make others work. */
export const coreServiceKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  shortNames: ['svc'],
  categories: ['all'],
  namespaced: true,
  status: false,
  verbs: ['get', 'list', 'watch'],
  strategicMerge: true,
  source: 'stored',
  schema: CoreServiceSchema,
  columns: [
    nameColumn,
    fieldColumn('Type', 'spec.type', 'How the name is resolved.'),
    { name: 'Cluster-IP', type: 'string', description: 'None: it is a name for another.', value: () => '<none>' },
    fieldColumn('External-IP', 'spec.externalName', 'The host that the name stands for.'),
    {
      name: 'Port(s)',
      type: 'string',
      description: 'Ports of the service.',
      value: (o) => (specOf(o).ports ?? []).map((p) => `${p.port}/${p.protocol ?? 'TCP'}`).join(',') || '<none>',
    },
    ageColumn,
  ],
  fields: (object) => ({ 'spec.type': specOf(object).type ?? '' }),
  validate: (object) => validateMetadata(object.metadata, 'dns1035'),
  stampsUser: false,
};
