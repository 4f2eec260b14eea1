import { EbbError } from '../platform/errors.ts';
import { apiVersionOf, type Kind } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import type { ResourceStore } from '../store/store.ts';

/** Makes the objects that always exist, where they are missing: when the server starts. */
export async function makePermanent(kinds: readonly Kind[], store: ResourceStore): Promise<void> {
  for (const kind of kinds) for (const name of kind.permanent ?? []) await ensure(store, kind, undefined, name);
  const { items } = await store.list({ group: '', kind: 'Namespace' });
  for (const { metadata } of items) {
    if (metadata.deletionTimestamp === undefined) await furnish(store, kinds, metadata.name);
  }
}

/** Makes what every namespace has, where it is missing. */
export async function furnish(store: ResourceStore, kinds: readonly Kind[], namespace: string): Promise<void> {
  for (const kind of kinds) for (const name of kind.inEveryNamespace ?? []) await ensure(store, kind, namespace, name);
}

export const isNamespace = (kind: Kind) => kind.group === '' && kind.kind === 'Namespace';

async function ensure(store: ResourceStore, kind: Kind, namespace: string | undefined, name: string): Promise<void> {
  const metadata: KubeObject['metadata'] = namespace === undefined ? { name } : { name, namespace };
  const object = { apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind, metadata };
  if (await store.get({ group: kind.group, kind: kind.kind, namespace, name })) return;
  try {
    await store.create(kind.default ? kind.default(object, undefined) : object);
  } catch (error) {
    // Someone else was faster, or the namespace has begun to go.
    if (!(error instanceof EbbError && (error.code === 'AlreadyExists' || error.code === 'Forbidden'))) throw error;
  }
}
