import { Type } from 'typebox';
import { typeMeta, type KubeObject } from '../meta.ts';
import { freeform } from '../schema.ts';
import { ageColumn, fieldColumn, nameColumn } from './columns.ts';
import type { Kind } from './kind.ts';

const Pod = Type.Object(
  {
    ...typeMeta,
    spec: Type.Optional(freeform('What runs.')),
    status: Type.Optional(freeform('How it runs.')),
  },
  { description: 'An instance of a revision. Read-only: instances come and go with the load.' },
);

interface PodStatus {
  phase?: string;
  reason?: string;
  containerStatuses?: {
    ready?: boolean;
    restartCount?: number;
    state?: { waiting?: { reason?: string }; terminated?: { reason?: string; exitCode?: number } };
  }[];
}

const statusOf = (object: KubeObject) => (object as KubeObject & { status?: PodStatus }).status ?? {};
const containersOf = (object: KubeObject) => statusOf(object).containerStatuses ?? [];

/** core/v1 Pod: a view of the instances. */
export const podKind: Kind = {
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  singular: 'pod',
  shortNames: ['po'],
  categories: ['all'],
  namespaced: true,
  status: false,
  verbs: ['get', 'list', 'watch'],
  strategicMerge: true,
  source: 'pods',
  schema: Pod,
  columns: [
    nameColumn,
    {
      name: 'Ready',
      type: 'string',
      description: 'Containers that are ready, of all.',
      value: (o) => `${containersOf(o).filter((c) => c.ready).length}/${containersOf(o).length}`,
    },
    { name: 'Status', type: 'string', description: 'How it is.', value: statusWord },
    {
      name: 'Restarts',
      type: 'string',
      description: 'How often its containers were started again.',
      value: (o) => String(containersOf(o).reduce((sum, c) => sum + (c.restartCount ?? 0), 0)),
    },
    ageColumn,
    fieldColumn('IP', 'status.podIP', 'Its address.', { priority: 1 }),
  ],
  fields: (object) => ({
    'status.phase': statusOf(object).phase ?? '',
    'status.podIP': (statusOf(object) as { podIP?: string }).podIP ?? '',
  }),
  validate: () => [],
  stampsUser: false,
};

/** kubectl's STATUS column: the phase, unless a container knows better. */
function statusWord(object: KubeObject): string {
  if (object.metadata.deletionTimestamp !== undefined) return 'Terminating';
  const { phase = 'Unknown', reason } = statusOf(object);
  const states = containersOf(object).map((c) => c.state);
  const waiting = states.find((s) => s?.waiting?.reason)?.waiting?.reason;
  const terminated = states.find((s) => s?.terminated)?.terminated;
  if (waiting) return waiting;
  if (terminated) return terminated.reason ?? `ExitCode:${terminated.exitCode ?? 0}`;
  return reason ?? phase;
}
