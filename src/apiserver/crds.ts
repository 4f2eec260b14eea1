import { EbbError } from '../platform/errors.ts';
import type { Kind } from '../resources/api.ts';
import { timestamp, type KubeObject } from '../resources/index.ts';
import type { Collection } from './collection.ts';
import { publish } from './openapi.ts';

/**
 * The kinds of named groups as CustomResourceDefinitions, for tools that look for them. They are made when they are
 * asked for, never change while the server runs, and cannot be written.
 */
export function crdCollection(kinds: readonly Kind[], startedMs: number): Collection {
  const described = kinds.filter((k) => k.source === 'stored' && k.group !== '');
  const all = () => described.map((kind) => definitionOf(kind, timestamp(startedMs)));
  // Objects that never change have one version, which a watch may start from.
  const resourceVersion = '1';
  return {
    get: async (_namespace, name) => all().find((o) => o.metadata.name === name),
    list: async ({ matches = () => true }) => ({ items: all().filter(matches), resourceVersion }),
    async *watch({ fromVersion, signal }) {
      if (fromVersion === undefined) {
        for (const object of all()) yield { type: 'ADDED', object };
        yield { type: 'BOOKMARK', resourceVersion };
      } else if (fromVersion !== resourceVersion) {
        throw new EbbError('Expired', 410, `too old resource version: ${fromVersion}: list again`);
      }
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
}

function definitionOf(kind: Kind, since: string): KubeObject {
  const { group, plural, singular, shortNames, categories, version } = kind;
  const names = { kind: kind.kind, listKind: `${kind.kind}List`, plural, singular, shortNames, categories };
  const condition = (type: string, reason: string) => ({ type, status: 'True', reason, lastTransitionTime: since });
  const served = {
    name: version,
    served: true,
    storage: true,
    schema: { openAPIV3Schema: publish(kind.schema) },
    ...(kind.status ? { subresources: { status: {} } } : {}),
  };
  return Object.assign(
    {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: {
        name: `${plural}.${group}`,
        uid: `${plural}.${group}`,
        resourceVersion: '1',
        creationTimestamp: since,
        labels: { 'knative.dev/crd-install': 'true' },
      },
    },
    {
      spec: { group, names, scope: kind.namespaced ? 'Namespaced' : 'Cluster', versions: [served] },
      status: {
        acceptedNames: names,
        conditions: [condition('NamesAccepted', 'NoConflicts'), condition('Established', 'InitialNamesAccepted')],
        storedVersions: [version],
      },
    },
  );
}
