import type { Kind } from '../resources/api.ts';

/** What hangs below each object of a kind, and what may be done with it. */
export function subresourcesOf(kind: Kind): { name: string; verbs: string[] }[] {
  return [
    ...(kind.status ? [{ name: 'status', verbs: ['get', 'patch', 'update'] }] : []),
    ...(kind.source === 'pods' ? [{ name: 'log', verbs: ['get'] }] : []),
  ];
}
