import type { Hono } from 'hono';
import type { Engine, InstanceState } from '../../engine/engine.ts';
import type { ResourceStore } from '../../store/store.ts';

/** What `GET /apis/ebb.dev/v1alpha1/status` answers: the state of this Ebb at a glance. */
export interface EbbStatus {
  version: string;
  pid: number;
  uptimeSeconds: number;
  api: { address: string };
  gateway: { address: string; pid: number; connected: boolean };
  runtime: { name: string };
  counts: { services: number; revisions: number; instances: Record<InstanceState['state'], number> };
  dataDir: string;
  runDir: string;
  /** Resident memory of the control process. */
  memoryBytes: number;
}

/** `GET .../status` and `POST .../shutdown` (answers 202, then everything is stopped). */
export function statusRoutes(
  app: Hono,
  deps: {
    facts: () => Omit<EbbStatus, 'counts' | 'pid' | 'uptimeSeconds' | 'memoryBytes'>;
    engine: Engine;
    store: ResourceStore;
    shutdown: () => void;
  },
): void {
  const size = async (kind: string) => (await deps.store.list({ group: 'serving.knative.dev', kind })).items.length;

  app.get('/apis/ebb.dev/v1alpha1/status', async (c) => {
    const instances = { standby: 0, starting: 0, ready: 0, draining: 0, stopping: 0, exited: 0 };
    for (const instance of deps.engine.instances()) instances[instance.status.state]++;
    const status: EbbStatus = {
      ...deps.facts(),
      pid: process.pid,
      uptimeSeconds: Math.floor(process.uptime()),
      counts: { services: await size('Service'), revisions: await size('Revision'), instances },
      memoryBytes: process.memoryUsage.rss(),
    };
    return c.json(status);
  });

  app.post('/apis/ebb.dev/v1alpha1/shutdown', (c) => {
    // After the answer has left.
    setTimeout(deps.shutdown, 50);
    return c.json({ kind: 'Status', apiVersion: 'v1', status: 'Success' }, 202);
  });
}
