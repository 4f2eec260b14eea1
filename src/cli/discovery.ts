import { EbbError } from '../platform/errors.ts';
import type { Client } from './client.ts';
import type { KubeObject } from './kube.ts';

interface ResourceList {
  resources?: { name: string; kind: string; namespaced?: boolean }[];
}

/** Where objects of this kind live, as the API's own discovery tells. Throws EbbError UnknownKind. */
export async function collectionPath(
  client: Client,
  object: KubeObject,
  namespace: string,
  signal: AbortSignal,
): Promise<string> {
  const version = object.apiVersion ?? '';
  const base = version.includes('/') ? `/apis/${version}` : `/api/${version}`;
  const known = await client.find<ResourceList>(base, { signal });
  const resource = known?.resources?.find((r) => r.kind === object.kind && !r.name.includes('/'));
  if (!resource) {
    throw new EbbError(
      'UnknownKind',
      400,
      `this Ebb knows no ${object.kind} in ${version} ("${object.metadata.name}")`,
    );
  }
  return resource.namespaced === false
    ? `${base}/${resource.name}`
    : `${base}/namespaces/${encodeURIComponent(namespace)}/${resource.name}`;
}
