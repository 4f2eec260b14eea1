import { keys } from '../annotations.ts';
import { defaultRevisionSpec } from '../defaults.ts';
import { Revision } from '../serving.ts';
import { validateRevision } from '../validation/serving.ts';
import { fieldColumn, labelColumn, nameColumn, readyColumns } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

/** serving.knative.dev/v1 Revision: made by its Configuration, never by users. */
export const revisionKind: Kind = {
  group: 'serving.knative.dev',
  version: 'v1',
  kind: 'Revision',
  plural: 'revisions',
  singular: 'revision',
  shortNames: ['rev'],
  categories: ['all', 'knative', 'serving'],
  namespaced: true,
  status: true,
  verbs: allVerbs.filter((v) => v !== 'create'),
  strategicMerge: false,
  source: 'stored',
  schema: Revision,
  columns: [
    nameColumn,
    labelColumn('Config Name', keys.configuration, 'The configuration that made it.'),
    labelColumn('Generation', keys.configurationGeneration, 'The generation of that configuration.'),
    ...readyColumns,
    fieldColumn('Actual Replicas', 'status.actualReplicas', 'Instances that run.', { type: 'integer' }),
    fieldColumn('Desired Replicas', 'status.desiredReplicas', 'Instances that should run.', { type: 'integer' }),
  ],
  default(object, previous) {
    const revision = object as Revision;
    return previous ? revision : { ...revision, spec: defaultRevisionSpec(revision.spec) };
  },
  validate: (object, previous) => validateRevision(object as Revision, previous as Revision | undefined),
  stampsUser: false,
};
