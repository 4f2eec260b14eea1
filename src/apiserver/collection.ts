import type { Kind } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import type { ListOptions, ListResult, ResourceStore, WatchEvent, WatchOptions } from '../store/store.ts';

/** What can be read of a kind, wherever its objects are. */
export interface Collection {
  get(namespace: string | undefined, name: string): Promise<KubeObject | undefined>;
  list(options: ListOptions): Promise<ListResult<KubeObject>>;
  watch(options: WatchOptions): AsyncIterable<WatchEvent<KubeObject>>;
}

export function storedCollection(store: ResourceStore, kind: Kind): Collection {
  const present = kind.present ?? ((object: KubeObject) => object);
  return {
    async get(namespace, name) {
      const object = await store.get({ group: kind.group, kind: kind.kind, namespace, name });
      return object && present(object);
    },
    async list(options) {
      const result = await store.list(kind, options);
      return { ...result, items: result.items.map(present) };
    },
    async *watch(options) {
      for await (const event of store.watch(kind, options)) {
        if (event.type === 'BOOKMARK') yield event;
        else if (event.type !== 'MODIFIED' || event.previous === undefined) {
          yield { type: event.type, object: present(event.object) } as WatchEvent;
        } else yield { type: 'MODIFIED', object: present(event.object), previous: present(event.previous) };
      }
    },
  };
}
