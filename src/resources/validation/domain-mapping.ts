import type { DomainMapping } from '../domain-mapping.ts';
import { forbidden, generic, missing, type FieldError } from '../field-error.ts';
import { isDns1123Subdomain } from '../names.ts';
import { validateCreator } from './annotations.ts';
import { validateMetadata } from './metadata.ts';

const clusterDomain = 'svc.cluster.local';

export function validateDomainMapping(next: DomainMapping, previous?: DomainMapping): FieldError[] {
  const { metadata, spec } = next;
  const { namespace, name } = metadata;
  const { ref } = spec;
  const invalidName = (why: string) => generic(`invalid name "${name.slice(0, 260)}": ${why}`, 'metadata.name');
  return [
    ...validateMetadata(metadata, 'dns1123-subdomain'),
    ...(metadata.generateName ? [forbidden('metadata.generateName')] : []),
    ...(isDns1123Subdomain(name) && !name.includes('.')
      ? [invalidName('should be a domain with at least two segments separated by dots')]
      : []),
    ...(name.endsWith(`.${clusterDomain}`)
      ? [invalidName(`must not be a subdomain of cluster local domain "${clusterDomain}"`)]
      : []),
    ...validateCreator(metadata.annotations, previous?.metadata.annotations, 'metadata.annotations'),
    ...(['apiVersion', 'kind', 'name'] as const)
      .filter((field) => !ref[field])
      .map((field) => missing(`spec.ref.${field}`)),
    ...(ref.namespace && ref.namespace !== namespace
      ? [
          {
            message: 'mismatched namespaces',
            paths: ['spec.ref.namespace'],
            details: `parent namespace: "${namespace ?? ''}" does not match ref: "${ref.namespace.slice(0, 100)}"`,
          },
        ]
      : []),
  ];
}
