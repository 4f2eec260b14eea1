import { defaultRoute } from '../defaults.ts';
import { Route } from '../serving.ts';
import { validateRoute } from '../validation/serving.ts';
import { fieldColumn, nameColumn, readyColumns } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

/** serving.knative.dev/v1 Route. */
export const routeKind: Kind = {
  group: 'serving.knative.dev',
  version: 'v1',
  kind: 'Route',
  plural: 'routes',
  singular: 'route',
  shortNames: ['rt'],
  categories: ['all', 'knative', 'serving'],
  namespaced: true,
  status: true,
  verbs: allVerbs,
  strategicMerge: false,
  source: 'stored',
  schema: Route,
  columns: [nameColumn, fieldColumn('URL', 'status.url', 'Where it is served.'), ...readyColumns],
  default: (object) => defaultRoute(object as Route),
  validate: (object, previous) => validateRoute(object as Route, previous as Route | undefined),
  stampsUser: true,
};
