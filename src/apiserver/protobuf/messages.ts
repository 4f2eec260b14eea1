/**
 * The messages that are understood, by field number: from the `generated.proto` files of k8s.io/api and
 * k8s.io/apimachinery. Numbers are never reused there, so that this stays true for clients of any version.
 */
export type Message = ReadonlyMap<number, Field>;

type Scalar = 'string' | 'bytes' | 'bool' | 'integer' | 'time' | 'microTime' | 'fieldsV1';

export interface Field {
  name: string;
  type: Scalar | Message;
  repeated?: true;
  /** A map from strings to these. */
  map?: 'string' | 'bytes';
  /** A pointer in Go: a zero that is there was meant. */
  pointer?: true;
}

type Spec = Scalar | Message | Omit<Field, 'name'>;

const message = (fields: Record<string, [number: number, spec: Spec]>): Message =>
  new Map(
    Object.entries(fields).map(([name, [number, spec]]) => [
      number,
      typeof spec === 'string' || spec instanceof Map
        ? { name, type: spec }
        : { name, ...(spec as Omit<Field, 'name'>) },
    ]),
  );
const list = (type: Scalar | Message): Spec => ({ type, repeated: true });
const strings: Spec = { type: 'string', map: 'string' };
const byteses: Spec = { type: 'bytes', map: 'bytes' };
const optionalBool: Spec = { type: 'bool', pointer: true };
const optionalInteger: Spec = { type: 'integer', pointer: true };

/** Field 1 of runtime.Unknown, in which every body is wrapped; field 2 is the object itself. */
export const typeMeta = message({ apiVersion: [1, 'string'], kind: [2, 'string'] });

const ownerReference = message({
  kind: [1, 'string'],
  name: [3, 'string'],
  uid: [4, 'string'],
  apiVersion: [5, 'string'],
  controller: [6, optionalBool],
  blockOwnerDeletion: [7, optionalBool],
});

const managedFieldsEntry = message({
  manager: [1, 'string'],
  operation: [2, 'string'],
  apiVersion: [3, 'string'],
  time: [4, 'time'],
  fieldsType: [6, 'string'],
  fieldsV1: [7, 'fieldsV1'],
  subresource: [8, 'string'],
});

const metadata: [number, Message] = [
  1,
  message({
    name: [1, 'string'],
    generateName: [2, 'string'],
    namespace: [3, 'string'],
    uid: [5, 'string'],
    resourceVersion: [6, 'string'],
    generation: [7, 'integer'],
    creationTimestamp: [8, 'time'],
    deletionTimestamp: [9, 'time'],
    deletionGracePeriodSeconds: [10, optionalInteger],
    labels: [11, strings],
    annotations: [12, strings],
    ownerReferences: [13, list(ownerReference)],
    finalizers: [14, list('string')],
    managedFields: [17, list(managedFieldsEntry)],
  }),
];

const objectReference = message({
  kind: [1, 'string'],
  namespace: [2, 'string'],
  name: [3, 'string'],
  uid: [4, 'string'],
  apiVersion: [5, 'string'],
  resourceVersion: [6, 'string'],
  fieldPath: [7, 'string'],
});

const event = message({
  metadata,
  involvedObject: [2, objectReference],
  reason: [3, 'string'],
  message: [4, 'string'],
  source: [5, message({ component: [1, 'string'], host: [2, 'string'] })],
  firstTimestamp: [6, 'time'],
  lastTimestamp: [7, 'time'],
  count: [8, 'integer'],
  type: [9, 'string'],
  eventTime: [10, 'microTime'],
  series: [11, message({ count: [1, 'integer'], lastObservedTime: [2, 'microTime'] })],
  action: [12, 'string'],
  related: [13, objectReference],
  reportingComponent: [14, 'string'],
  reportingInstance: [15, 'string'],
});

const resourceAttributes = message({
  namespace: [1, 'string'],
  verb: [2, 'string'],
  group: [3, 'string'],
  version: [4, 'string'],
  resource: [5, 'string'],
  subresource: [6, 'string'],
  name: [7, 'string'],
});

const tokenRequestSpec = message({
  audiences: [1, list('string')],
  boundObjectRef: [
    3,
    message({ kind: [1, 'string'], apiVersion: [2, 'string'], name: [3, 'string'], uid: [4, 'string'] }),
  ],
  expirationSeconds: [4, optionalInteger],
});

/** By `apiVersion/kind`; DeleteOptions come in any group. */
export const kindMessages: ReadonlyMap<string, Message> = new Map([
  [
    'v1/Namespace',
    message({
      metadata,
      spec: [2, message({ finalizers: [1, list('string')] })],
      status: [3, message({ phase: [1, 'string'] })],
    }),
  ],
  [
    'v1/Secret',
    message({
      metadata,
      data: [2, byteses],
      type: [3, 'string'],
      stringData: [4, strings],
      immutable: [5, optionalBool],
    }),
  ],
  ['v1/ConfigMap', message({ metadata, data: [2, strings], binaryData: [3, byteses], immutable: [4, optionalBool] })],
  [
    'v1/ServiceAccount',
    message({
      metadata,
      secrets: [2, list(objectReference)],
      imagePullSecrets: [3, list(message({ name: [1, 'string'] }))],
      automountServiceAccountToken: [4, optionalBool],
    }),
  ],
  ['v1/Event', event],
  [
    'authorization.k8s.io/v1/SelfSubjectAccessReview',
    message({
      metadata,
      spec: [
        2,
        message({
          resourceAttributes: [1, resourceAttributes],
          nonResourceAttributes: [2, message({ path: [1, 'string'], verb: [2, 'string'] })],
        }),
      ],
    }),
  ],
  [
    'authorization.k8s.io/v1/SelfSubjectRulesReview',
    message({ metadata, spec: [2, message({ namespace: [1, 'string'] })] }),
  ],
  ['authentication.k8s.io/v1/SelfSubjectReview', message({ metadata })],
  ['authentication.k8s.io/v1/TokenRequest', message({ metadata, spec: [2, tokenRequestSpec] })],
  [
    'DeleteOptions',
    message({
      gracePeriodSeconds: [1, optionalInteger],
      preconditions: [2, message({ uid: [1, 'string'], resourceVersion: [2, 'string'] })],
      orphanDependents: [3, optionalBool],
      propagationPolicy: [4, 'string'],
      dryRun: [5, list('string')],
    }),
  ],
]);
