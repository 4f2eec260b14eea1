import { Type, type Static } from 'typebox';
import { Condition, typeMeta, type KubeObject } from './meta.ts';
import { int64, refusing, stringMap, text } from './schema.ts';

const KReference = Type.Object(
  {
    apiVersion: Type.Optional(text('API version of the referent.')),
    kind: text('Kind of the referent: a Service or a Route.'),
    name: text('Name of the referent.'),
    namespace: Type.Optional(text('Namespace of the referent: that of the mapping.')),
  },
  { description: 'What the domain leads to.' },
);

export const DomainMapping = Type.Object(
  {
    ...typeMeta,
    spec: Type.Object({ ref: KReference }, refusing('tls')),
    status: Type.Optional(
      Type.Object({
        observedGeneration: Type.Optional(int64('The generation that this status speaks of.')),
        conditions: Type.Optional(Type.Array(Condition, { description: 'Aspects of the state, Ready among them.' })),
        annotations: Type.Optional(stringMap('Further facts of the status.')),
        url: Type.Optional(text('Where requests are served.')),
        address: Type.Optional(
          Type.Object({ url: text('The URL.') }, { description: 'Where other services find it.' }),
        ),
      }),
    ),
  },
  { description: 'A domain of your own for a service. Its name is the domain.' },
);
/** serving.knative.dev/v1beta1 DomainMapping. */
export interface DomainMapping extends KubeObject, Pick<Static<typeof DomainMapping>, 'spec' | 'status'> {}
