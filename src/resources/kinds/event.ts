import { Type, type Static } from 'typebox';
import { invalid } from '../field-error.ts';
import { typeMeta, type KubeObject } from '../meta.ts';
import { freeform, int32, text, time } from '../schema.ts';
import { validateMetadata } from '../validation/metadata.ts';
import { ageOf, fieldColumn } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

export const ObjectReference = Type.Object(
  {
    apiVersion: Type.Optional(text('API version of the object.')),
    kind: Type.Optional(text('Kind of the object.')),
    namespace: Type.Optional(text('Namespace of the object.')),
    name: Type.Optional(text('Name of the object.')),
    uid: Type.Optional(text('UID of the object.')),
    resourceVersion: Type.Optional(text('Version of the object.')),
    fieldPath: Type.Optional(text('Part of the object.')),
  },
  { description: 'The object that something happened to.' },
);

const EventSchema = Type.Object(
  {
    ...typeMeta,
    involvedObject: ObjectReference,
    reason: Type.Optional(text('What happened, in one CamelCase word.')),
    message: Type.Optional(text('What happened, for people.')),
    type: Type.Optional(text('Normal or Warning.')),
    count: Type.Optional(int32('How often it happened.')),
    firstTimestamp: Type.Optional(time('When it first happened.')),
    lastTimestamp: Type.Optional(time('When it last happened.')),
    eventTime: Type.Optional(time('When it happened.')),
    action: Type.Optional(text('What was done.')),
    reportingComponent: Type.Optional(text('Who tells it.')),
    reportingInstance: Type.Optional(text('Which instance tells it.')),
    related: Type.Optional(ObjectReference),
    series: Type.Optional(freeform('Repetitions.')),
    source: Type.Optional(
      Type.Object({
        component: Type.Optional(text('Who tells it.')),
        host: Type.Optional(text('Where that runs.')),
      }),
    ),
  },
  { description: 'Something that happened to an object.' },
);
export interface Event extends KubeObject, Omit<Static<typeof EventSchema>, 'apiVersion' | 'kind' | 'metadata'> {}

/** core/v1 Event. */
export const eventKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  singular: 'event',
  shortNames: ['ev'],
  categories: [],
  namespaced: true,
  status: false,
  verbs: allVerbs,
  strategicMerge: true,
  source: 'stored',
  schema: EventSchema,
  columns: [
    {
      name: 'Last Seen',
      type: 'string',
      description: 'Time since it last happened.',
      value: (o, nowMs) => ageOf((o as Event).lastTimestamp ?? (o as Event).eventTime, nowMs),
    },
    fieldColumn('Type', 'type', 'Normal or Warning.'),
    fieldColumn('Reason', 'reason', 'What happened.'),
    {
      name: 'Object',
      type: 'string',
      description: 'What it happened to.',
      value: (o) =>
        `${(o as Event).involvedObject.kind?.toLowerCase() ?? ''}/${(o as Event).involvedObject.name ?? ''}`,
    },
    fieldColumn('Source', 'source.component', 'Who tells it.', { priority: 1 }),
    fieldColumn('Message', 'message', 'What happened, for people.'),
    fieldColumn('Count', 'count', 'How often it happened.', { type: 'integer', priority: 1 }),
    fieldColumn('Name', 'metadata.name', 'Name of the event.', { format: 'name', priority: 1 }),
  ],
  fields(object) {
    const { involvedObject, reason, type, source } = object as Event;
    return {
      'involvedObject.apiVersion': involvedObject.apiVersion ?? '',
      'involvedObject.kind': involvedObject.kind ?? '',
      'involvedObject.namespace': involvedObject.namespace ?? '',
      'involvedObject.name': involvedObject.name ?? '',
      'involvedObject.uid': involvedObject.uid ?? '',
      'involvedObject.resourceVersion': involvedObject.resourceVersion ?? '',
      'involvedObject.fieldPath': involvedObject.fieldPath ?? '',
      reason: reason ?? '',
      type: type ?? '',
      source: source?.component ?? '',
    };
  },
  validate(object) {
    const { involvedObject, metadata } = object as Event;
    const elsewhere = involvedObject.namespace !== undefined && involvedObject.namespace !== metadata.namespace;
    return [
      ...validateMetadata(metadata, 'dns1123-subdomain'),
      ...(elsewhere
        ? [invalid(involvedObject.namespace, 'involvedObject.namespace', 'must be the namespace of the event')]
        : []),
    ];
  },
  stampsUser: false,
};
