import type { RevisionSpec } from './serving.ts';

/** A Secret or ConfigMap that a revision's containers get something from. */
export interface ObjectReference {
  kind: 'Secret' | 'ConfigMap';
  name: string;
}

/** Every Secret and ConfigMap that the spec names, each once, in the order of the spec. */
export function referencesOf(spec: RevisionSpec): ObjectReference[] {
  const found = new Map<string, ObjectReference>();
  const add = (kind: ObjectReference['kind'], name: string | undefined) => {
    if (name) found.set(`${kind}/${name}`, { kind, name });
  };
  for (const container of spec.containers) {
    for (const source of container.envFrom ?? []) {
      add('Secret', source.secretRef?.name);
      add('ConfigMap', source.configMapRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add('Secret', valueFrom?.secretKeyRef?.name);
      add('ConfigMap', valueFrom?.configMapKeyRef?.name);
    }
  }
  for (const volume of spec.volumes ?? []) {
    add('Secret', volume.secret?.secretName);
    add('ConfigMap', volume.configMap?.name);
    for (const source of volume.projected?.sources ?? []) {
      add('Secret', source.secret?.name);
      add('ConfigMap', source.configMap?.name);
    }
  }
  return [...found.values()];
}
