import { DomainMapping } from '../domain-mapping.ts';
import { validateDomainMapping } from '../validation/domain-mapping.ts';
import { fieldColumn, nameColumn, readyColumns } from './columns.ts';
import { allVerbs, type Kind } from './kind.ts';

/** serving.knative.dev/v1beta1 DomainMapping. */
export const domainMappingKind: Kind = {
  group: 'serving.knative.dev',
  version: 'v1beta1',
  kind: 'DomainMapping',
  plural: 'domainmappings',
  singular: 'domainmapping',
  shortNames: ['dm'],
  categories: ['all', 'knative', 'serving'],
  namespaced: true,
  status: true,
  verbs: allVerbs,
  strategicMerge: false,
  source: 'stored',
  schema: DomainMapping,
  columns: [nameColumn, fieldColumn('URL', 'status.url', 'Where it is served.'), ...readyColumns],
  default(object) {
    const { ref } = (object as DomainMapping).spec;
    const { namespace = '' } = object.metadata;
    return Object.assign({}, object, { spec: { ref: { ...ref, namespace: ref.namespace || namespace } } });
  },
  validate: (object, previous) => validateDomainMapping(object as DomainMapping, previous as DomainMapping | undefined),
  stampsUser: true,
};
