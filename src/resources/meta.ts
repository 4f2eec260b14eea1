import { Type, type Static } from 'typebox';
import { flag, int64, listMap, listSet, stringMap, text, time } from './schema.ts';

export const OwnerReference = Type.Object(
  {
    apiVersion: text('API version of the owner.'),
    kind: text('Kind of the owner.'),
    name: text('Name of the owner.'),
    uid: text('UID of the owner.'),
    controller: Type.Optional(flag('Whether this owner is the one that manages the object.')),
    blockOwnerDeletion: Type.Optional(flag('Whether foreground deletion of the owner waits for this object.')),
  },
  { description: 'An object that this object belongs to; it is deleted with its last owner.' },
);
export type OwnerReference = Static<typeof OwnerReference>;

/** metav1.ObjectMeta, as much of it as Ebb keeps. */
export const ObjectMeta = Type.Object(
  {
    name: text('Name, unique among objects of this kind in the namespace. Cannot be changed.'),
    generateName: Type.Optional(text('Prefix of the name that the server makes when no name is given.')),
    namespace: Type.Optional(text('Namespace of the object. Cannot be changed.')),
    uid: Type.Optional(text('Unique in time and space; set by the server.')),
    resourceVersion: Type.Optional(text('Version of the stored object; updates of an older version are refused.')),
    generation: Type.Optional(int64('Counts changes of the desired state; set by the server.')),
    creationTimestamp: Type.Optional(time('When the object was created; set by the server.')),
    deletionTimestamp: Type.Optional(time('When deletion was asked for; set by the server.')),
    deletionGracePeriodSeconds: Type.Optional(int64('Seconds until it is removed; set by the server.')),
    labels: Type.Optional(stringMap('Keys and values to select objects by.')),
    annotations: Type.Optional(stringMap('Keys and values for tools and people.')),
    finalizers: Type.Optional(listSet('Who must agree before the object is removed.')),
    ownerReferences: Type.Optional(listMap(OwnerReference, ['uid'], 'The objects that this one belongs to.')),
    managedFields: Type.Optional(Type.Array(Type.Unknown(), { description: 'Who set which field.' })),
  },
  { description: 'Standard metadata of every object.' },
);
/** metav1.ObjectMeta, as much of it as Ebb keeps. */
export type ObjectMeta = Static<typeof ObjectMeta>;

/** Any object of the API. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export const Condition = Type.Object(
  {
    type: text('Which condition.'),
    status: Type.Unsafe<'True' | 'False' | 'Unknown'>({ type: 'string', description: 'True, False or Unknown.' }),
    reason: Type.Optional(text('Why, in one CamelCase word.')),
    message: Type.Optional(text('Why, for people.')),
    severity: Type.Optional(
      Type.Unsafe<'Info' | 'Warning' | ''>({ type: 'string', description: 'Empty when it counts for readiness.' }),
    ),
    lastTransitionTime: Type.Optional(time('When the status last changed.')),
  },
  { description: 'One aspect of the state of an object.' },
);
/** Knative's condition: severity "" (absent) counts for Ready, "Info" does not. */
export type Condition = Static<typeof Condition>;

/** The fields that every kind has. */
export const typeMeta = {
  apiVersion: text('Version of the schema of this object.'),
  kind: text('Kind of this object.'),
  metadata: ObjectMeta,
};
