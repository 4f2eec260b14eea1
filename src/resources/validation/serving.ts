import { isDeepStrictEqual } from 'node:util';
import { generic, invalid, missing, outOfBounds, type FieldError } from '../field-error.ts';
import type { ObjectMeta } from '../meta.ts';
import { dns1035Words, isDns1035Label, isDns1123Subdomain, subdomainWords } from '../names.ts';
import type { Configuration, Revision, RevisionSpec, RevisionTemplate, Route, Service } from '../serving.ts';
import { validateCreator, validateObjectAnnotations, validateTemplateAnnotations } from './annotations.ts';
import { validateContainers } from './container.ts';
import { validateAnnotationSyntax, validateLabels, validateMetadata } from './metadata.ts';
import { validateTraffic } from './traffic.ts';
import { validateVolumes } from './volumes.ts';

/** Knative's config-defaults: `max-revision-timeout-seconds`, `container-concurrency-max-limit`. */
const maxTimeoutSeconds = 600;
const maxContainerConcurrency = 1000;

export function validateService(next: Service, previous?: Service): FieldError[] {
  return [
    ...validateServingMetadata(next.metadata, previous?.metadata),
    ...validateTemplate(next.spec.template, next.metadata, 'spec.template'),
    ...validateNamedTemplate(next.spec.template, previous?.spec.template),
    ...validateTraffic(next.spec.traffic ?? [], 'service', 'spec.traffic'),
  ];
}

export function validateConfiguration(next: Configuration, previous?: Configuration): FieldError[] {
  return [
    ...validateServingMetadata(next.metadata, previous?.metadata),
    ...validateTemplate(next.spec.template, next.metadata, 'spec.template'),
    ...validateNamedTemplate(next.spec.template, previous?.spec.template),
  ];
}

export function validateRoute(next: Route, previous?: Route): FieldError[] {
  return [
    ...validateServingMetadata(next.metadata, previous?.metadata),
    ...validateTraffic(next.spec.traffic ?? [], 'route', 'spec.traffic'),
  ];
}

/** A Revision's spec never changes: what ran stays known. */
export function validateRevision(next: Revision, previous?: Revision): FieldError[] {
  return [
    ...validateMetadata(next.metadata, 'dns1035'),
    ...(previous && !isDeepStrictEqual(next.spec, previous.spec)
      ? [
          {
            message: 'Immutable fields changed',
            paths: ['spec'],
            details: 'a revision never changes: change the template of its service, which makes a new one',
          },
        ]
      : []),
    ...(previous ? [] : validateRevisionSpec(next.spec, 'spec')),
    ...(previous ? [] : validateTemplateAnnotations(next.metadata.annotations, 'metadata.annotations')),
  ];
}

function validateServingMetadata(next: ObjectMeta, previous?: ObjectMeta): FieldError[] {
  return [
    ...validateMetadata(next, 'dns1035'),
    ...validateObjectAnnotations(next.annotations, 'metadata.annotations'),
    ...validateCreator(next.annotations, previous?.annotations, 'metadata.annotations'),
  ];
}

function validateTemplate(template: RevisionTemplate, parent: ObjectMeta, path: string): FieldError[] {
  const { name, labels, annotations } = template.metadata ?? {};
  return [
    ...validateTemplateName(name, parent, `${path}.metadata.name`),
    ...validateLabels(labels, `${path}.metadata.labels`),
    ...validateAnnotationSyntax(annotations, `${path}.metadata.annotations`),
    ...validateTemplateAnnotations(annotations, `${path}.metadata.annotations`),
    ...validateRevisionSpec(template.spec, `${path}.spec`),
  ];
}

function validateTemplateName(name: string | undefined, parent: ObjectMeta, path: string): FieldError[] {
  if (name === undefined || name === '') return [];
  if (parent.generateName) {
    return [
      {
        message: 'must not set the field(s)',
        paths: [path],
        details: 'not together with metadata.generateName',
        reason: 'FieldValueForbidden',
      },
    ];
  }
  if (!isDns1035Label(name)) return [invalid(name, path, dns1035Words)];
  return name.startsWith(`${parent.name}-`)
    ? []
    : [{ message: `"${name}" must have prefix "${parent.name}-"`, paths: [path] }];
}

/** A template with a name of its own is one revision: changing it needs another name. */
function validateNamedTemplate(next: RevisionTemplate, previous: RevisionTemplate | undefined): FieldError[] {
  const name = next.metadata?.name;
  if (!name || previous?.metadata?.name !== name || isDeepStrictEqual(next, previous)) return [];
  return [
    {
      message: 'Saw changes of the template without a name change',
      paths: ['spec.template.metadata.name'],
      details: `revision "${name}" exists and never changes: give the template another name, or none`,
    },
  ];
}

export function validateRevisionSpec(spec: RevisionSpec, path: string): FieldError[] {
  const timeout = spec.timeoutSeconds;
  const below = (field: 'responseStartTimeoutSeconds' | 'idleTimeoutSeconds') => {
    const value = spec[field];
    if (value === undefined) return [];
    const high = timeout ?? maxTimeoutSeconds;
    return value < 0 || value > high ? [outOfBounds(value, 0, high, `${path}.${field}`)] : [];
  };
  const concurrency = spec.containerConcurrency;
  return [
    ...(spec.containers
      ? validateContainers(spec.containers, spec.volumes ?? [], `${path}.containers`)
      : [missing(`${path}.containers`)]),
    ...validateVolumes(spec.volumes ?? [], spec.containers ?? [], `${path}.volumes`),
    ...(timeout !== undefined && (timeout < 0 || timeout > maxTimeoutSeconds)
      ? [outOfBounds(timeout, 0, maxTimeoutSeconds, `${path}.timeoutSeconds`)]
      : []),
    ...below('responseStartTimeoutSeconds'),
    ...below('idleTimeoutSeconds'),
    ...(concurrency !== undefined && (concurrency < 0 || concurrency > maxContainerConcurrency)
      ? [outOfBounds(concurrency, 0, maxContainerConcurrency, `${path}.containerConcurrency`)]
      : []),
    ...(spec.serviceAccountName && !isDns1123Subdomain(spec.serviceAccountName)
      ? [
          {
            message: `invalid value: ${spec.serviceAccountName.slice(0, 100)}`,
            paths: [`${path}.serviceAccountName`],
            details: subdomainWords,
          },
        ]
      : []),
    ...(spec.enableServiceLinks === true
      ? [generic('must not be true: there are no service links to enable', `${path}.enableServiceLinks`)]
      : []),
  ];
}
