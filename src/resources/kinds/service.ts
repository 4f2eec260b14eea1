import { defaultService } from '../defaults.ts';
import { Service } from '../serving.ts';
import { validateService } from '../validation/serving.ts';
import { fieldColumn, nameColumn, readyColumns } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

/** serving.knative.dev/v1 Service. */
export const serviceKind: Kind = {
  group: 'serving.knative.dev',
  version: 'v1',
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  shortNames: ['kservice', 'ksvc'],
  categories: ['all', 'knative', 'serving'],
  namespaced: true,
  status: true,
  verbs: allVerbs,
  strategicMerge: false,
  source: 'stored',
  schema: Service,
  columns: [
    nameColumn,
    fieldColumn('URL', 'status.url', 'Where it is served.'),
    fieldColumn('LatestCreated', 'status.latestCreatedRevisionName', 'The newest revision.'),
    fieldColumn('LatestReady', 'status.latestReadyRevisionName', 'The newest revision that can serve.'),
    ...readyColumns,
  ],
  // The schema check has made sure of the shape before these are called.
  default: (object) => defaultService(object as Service),
  validate: (object, previous) => validateService(object as Service, previous as Service | undefined),
  stampsUser: true,
};
