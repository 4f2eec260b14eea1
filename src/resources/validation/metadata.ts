import type { ObjectMeta } from '../meta.ts';
import { generic, invalid, invalidKey, missing, type FieldError } from '../field-error.ts';
import {
  dns1035Words,
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
  labelValueWords,
  dns1123Words,
  qualifiedNameWords,
  subdomainWords,
} from '../names.ts';

export type NameRule = 'dns1035' | 'dns1123-label' | 'dns1123-subdomain';

/** Kubernetes' bound on all annotations of an object together, bytes. */
const maxAnnotationBytes = 256 * 1024;

const rules: Record<NameRule, { check: (s: string) => boolean; words: string; title: string }> = {
  dns1035: { check: isDns1035Label, words: dns1035Words, title: 'not a DNS 1035 label' },
  'dns1123-label': { check: isDns1123Label, words: dns1123Words, title: 'not a DNS 1123 label' },
  'dns1123-subdomain': { check: isDns1123Subdomain, words: subdomainWords, title: 'not a DNS 1123 subdomain' },
};

/** What every object's metadata must keep: its name by the kind's rule, label and annotation syntax, owners, finalizers. */
export function validateMetadata(metadata: ObjectMeta, rule: NameRule): FieldError[] {
  const { check, words, title } = rules[rule];
  const { name, ownerReferences = [], finalizers = [] } = metadata;
  return [
    ...(!name
      ? [missing('metadata.name')]
      : check(name)
        ? []
        : [generic(`${title}: ${quote(name)}: [${words}]`, 'metadata.name')]),
    ...validateLabels(metadata.labels, 'metadata.labels'),
    ...validateAnnotationSyntax(metadata.annotations, 'metadata.annotations'),
    ...finalizers.filter((f) => !isQualifiedName(f)).map((f) => invalid(f, 'metadata.finalizers', qualifiedNameWords)),
    ...ownerReferences.flatMap((owner, i) =>
      (['apiVersion', 'kind', 'name', 'uid'] as const)
        .filter((field) => owner[field] === '')
        .map((field) => missing(`metadata.ownerReferences[${i}].${field}`)),
    ),
    ...(ownerReferences.filter((o) => o.controller === true).length > 1
      ? [generic('only one ownerReference may have controller set to true', 'metadata.ownerReferences')]
      : []),
  ];
}

export function validateLabels(labels: Record<string, string> = {}, path: string): FieldError[] {
  return Object.entries(labels).flatMap(([key, value]) => [
    ...(isQualifiedName(key) ? [] : [invalidKey(key, path, qualifiedNameWords)]),
    ...(isLabelValue(value) ? [] : [invalid(value, `${path}.${key}`, labelValueWords)]),
  ]);
}

export function validateAnnotationSyntax(annotations: Record<string, string> = {}, path: string): FieldError[] {
  const errors = Object.keys(annotations)
    // Kubernetes compares annotation keys in lower case.
    .filter((key) => !isQualifiedName(key.toLowerCase()))
    .map((key) => invalidKey(key, path, qualifiedNameWords));
  const bytes = Object.entries(annotations).reduce(
    (sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v),
    0,
  );
  return bytes <= maxAnnotationBytes
    ? errors
    : [...errors, generic(`annotations are ${bytes} bytes together, at most ${maxAnnotationBytes} are kept`, path)];
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}...` : name);
}
