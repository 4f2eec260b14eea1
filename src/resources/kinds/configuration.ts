import { defaultConfiguration } from '../defaults.ts';
import { Configuration } from '../serving.ts';
import { validateConfiguration } from '../validation/serving.ts';
import { fieldColumn, nameColumn, readyColumns } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

/** serving.knative.dev/v1 Configuration. */
export const configurationKind: Kind = {
  group: 'serving.knative.dev',
  version: 'v1',
  kind: 'Configuration',
  plural: 'configurations',
  singular: 'configuration',
  shortNames: ['config', 'cfg'],
  categories: ['all', 'knative', 'serving'],
  namespaced: true,
  status: true,
  verbs: allVerbs,
  strategicMerge: false,
  source: 'stored',
  schema: Configuration,
  columns: [
    nameColumn,
    fieldColumn('LatestCreated', 'status.latestCreatedRevisionName', 'The newest revision.'),
    fieldColumn('LatestReady', 'status.latestReadyRevisionName', 'The newest revision that can serve.'),
    ...readyColumns,
  ],
  default: (object) => defaultConfiguration(object as Configuration),
  validate: (object, previous) => validateConfiguration(object as Configuration, previous as Configuration | undefined),
  stampsUser: true,
};
