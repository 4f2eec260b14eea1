import { Type, type TSchema } from 'typebox';
import { exactlyOne, missing, type FieldError } from '../field-error.ts';
import { typeMeta, type KubeObject } from '../meta.ts';
import { flag, freeform, text } from '../schema.ts';
import type { Kind, Reviewer } from './kind.ts';

/** Whoever is in this group may do everything; nobody else may do anything. */
const administrators = 'system:masters';

const metadata = Type.Optional(freeform('Not used.'));

const AccessReview = Type.Object(
  {
    ...typeMeta,
    metadata,
    spec: Type.Object({
      resourceAttributes: Type.Optional(
        Type.Object({
          namespace: Type.Optional(text('In which namespace; empty is all of them.')),
          verb: Type.Optional(text('get, list, watch, create ...; * is all.')),
          group: Type.Optional(text('API group; * is all.')),
          version: Type.Optional(text('API version; * is all.')),
          resource: Type.Optional(text('Plural name of the kind; * is all.')),
          subresource: Type.Optional(text('Such as log.')),
          name: Type.Optional(text('Which object; empty is all.')),
          fieldSelector: Type.Optional(freeform('Which objects, by field.')),
          labelSelector: Type.Optional(freeform('Which objects, by label.')),
        }),
      ),
      nonResourceAttributes: Type.Optional(
        Type.Object({ path: Type.Optional(text('Path of the URL.')), verb: Type.Optional(text('HTTP verb.')) }),
      ),
    }),
    status: Type.Optional(
      Type.Object({ allowed: flag('Whether it may be done.'), reason: Type.Optional(text('Why.')) }),
    ),
  },
  { description: 'May I do this?' },
);

const RulesReview = Type.Object(
  {
    ...typeMeta,
    metadata,
    spec: Type.Object({ namespace: Type.Optional(text('In which namespace.')) }),
    status: Type.Optional(freeform('All that may be done.')),
  },
  { description: 'What may I do?' },
);

const SubjectReview = Type.Object(
  { ...typeMeta, metadata, status: Type.Optional(freeform('Name and groups.')) },
  { description: 'Who am I?' },
);

type Spec = KubeObject & {
  spec: { resourceAttributes?: unknown; nonResourceAttributes?: unknown; namespace?: string };
};

/** Whether a user may do everything. */
export const isAdministrator = (user: Reviewer) => user.groups.includes(administrators);

/** Virtual kinds: the answer comes with the creation, and nothing is stored. */
export const reviewKinds: readonly Kind[] = [
  reviewKind({
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectAccessReview',
    schema: AccessReview,
    validate(object) {
      const { resourceAttributes, nonResourceAttributes } = (object as Spec).spec;
      const given = [resourceAttributes, nonResourceAttributes].filter((a) => a !== undefined).length;
      return given === 1 ? [] : [exactlyOne(given, 'spec.resourceAttributes', 'spec.nonResourceAttributes')];
    },
    answer: (_object, user) =>
      isAdministrator(user)
        ? { allowed: true, reason: `user "${user.name}" is the administrator` }
        : { allowed: false, reason: `user "${user.name}" is not the administrator` },
  }),
  reviewKind({
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectRulesReview',
    schema: RulesReview,
    validate: (object) => ((object as Spec).spec.namespace ? [] : [missing('spec.namespace')]),
    answer: (_object, user) => ({
      resourceRules: isAdministrator(user) ? [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }] : [],
      nonResourceRules: isAdministrator(user) ? [{ verbs: ['*'], nonResourceURLs: ['*'] }] : [],
      incomplete: false,
    }),
  }),
  reviewKind({
    group: 'authentication.k8s.io',
    kind: 'SelfSubjectReview',
    schema: SubjectReview,
    validate: () => [],
    answer: (_object, user) => ({ userInfo: { username: user.name, groups: user.groups } }),
  }),
];

function reviewKind(of: {
  group: string;
  kind: string;
  schema: TSchema;
  validate(object: KubeObject): FieldError[];
  answer(object: KubeObject, user: Reviewer): object;
}): Kind {
  const { group, kind, schema, validate, answer } = of;
  return {
    group,
    version: 'v1',
    kind,
    plural: `${kind.toLowerCase()}s`,
    singular: kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced: false,
    status: false,
    verbs: ['create'],
    strategicMerge: true,
    source: 'review',
    schema,
    columns: [],
    validate,
    review: (object, user) => Object.assign({}, object, { status: answer(object, user) }),
    stampsUser: false,
  };
}
