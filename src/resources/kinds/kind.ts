import type { TSchema } from 'typebox';
import type { FieldError } from '../field-error.ts';
import type { KubeObject } from '../meta.ts';

export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** A column of `kubectl get`. Those of priority 1 are shown with `-o wide` only. */
export interface Column {
  name: string;
  type: 'string' | 'integer' | 'boolean' | 'date';
  format?: 'name';
  description: string;
  priority?: 0 | 1;
  /** Pure. A missing value is undefined, and is shown as an empty cell. */
  value(object: KubeObject, nowMs: number): string | number | boolean | undefined;
}

/** Who asks for a review. */
export interface Reviewer {
  name: string;
  groups: readonly string[];
}

/** All that the API server knows of a kind. Adding one to the API is a file with one of these and a line in index.ts. */
export interface Kind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  /** Has `/status`, written apart from the rest. */
  status: boolean;
  verbs: readonly Verb[];
  /** Merge keys of lists are known to kubectl for Kubernetes' own kinds, so it sends strategic merge patches for those. */
  strategicMerge: boolean;
  /** `stored` in the ResourceStore, told by the PodView, made of the other kinds, or a question that is answered at once. */
  source: 'stored' | 'pods' | 'kinds' | 'review';
  schema: TSchema;
  columns: readonly Column[];
  /** Values of the selectable fields besides metadata.name and metadata.namespace. */
  fields?(object: KubeObject): Record<string, string>;
  /** Fills in what the object leaves open; idempotent. `previous` is the stored object, when there is one. */
  default?(object: KubeObject, previous: KubeObject | undefined): KubeObject;
  validate(object: KubeObject, previous: KubeObject | undefined): FieldError[];
  /** Adds what is worked out rather than stored, when the object is shown. */
  present?(object: KubeObject): KubeObject;
  /** Names that always exist: made when the server starts, refused to be deleted. */
  permanent?: readonly string[];
  /** Names that exist in every namespace: made with it, and again when they are deleted. */
  inEveryNamespace?: readonly string[];
  /** Of a `review`: the question with its answer. Pure. */
  review?(object: KubeObject, user: Reviewer): KubeObject;
  /** Whether the server notes who made and last changed the spec (Knative's creator and lastModifier annotations). */
  stampsUser: boolean;
}

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];
