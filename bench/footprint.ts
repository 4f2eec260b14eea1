import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { Client } from '../src/cli/client.ts';
import { loadKubeconfig } from '../src/cli/kubeconfig.ts';
import { root, request, startEbb, type TestEbb } from '../test/support/ebb.ts';
import { memoryOf, processesWith, together, type Memory } from './lib/memory.ts';
import { cpuMicros } from './lib/processes.ts';
import { median, printReport, say, type BenchCase } from './lib/report.ts';

/**
 * What Ebb costs while nothing happens, with 1, 100 and 1,000 services that are all at zero, and how soon it is there: from
 * `ebb up` to ready, and from nothing to the first answer of an app that is deployed from its source.
 */
const sizes = [1, 100, 1000];
const startups = 5;
const deploys = 3;
/** After the last instance is gone: a thousand deploys hand their standbys round for most of a minute. */
const settleMs = 60_000;
const idleMs = 30_000;
/** Services that are rolled out at a time. */
const parallel = 8;
const collection = '/apis/serving.knative.dev/v1/namespaces/default/services';

const figures: BenchCase[] = [];
const add = (name: string, metric: string, unit: string, ours: number) =>
  figures.push({ case: name, metric, unit, ours, peers: {} });

await startupAndDeploy();
await idle();
printReport(
  {
    bench: 'footprint',
    cases: figures,
    missing: [],
    notes: [
      'rss_mb: control and gateway process together, the pages of the Node binary that both map counted once.',
      'rss_control_mb, rss_gateway_mb: each by itself, those pages included. standby_mb: PSS of all standby sandboxes and their conmons.',
      `cpu_percent: of one core, both processes, over ${idleMs / 1000} s of idleness. Every service is Ready=True and at zero.`,
      `startup: "ebb up --detach" on an empty data directory until it returns, median of ${startups}.`,
      `deploy: "ebb deploy examples/hello" on an empty data directory until the first answer, median of ${deploys}.`,
    ],
  },
  { json: process.argv.includes('--json') },
);

async function startupAndDeploy(): Promise<void> {
  const up: number[] = [];
  const deployed: number[] = [];
  for (let i = 0; i < startups; i++) {
    say(`startup ${i + 1} of ${startups}${i < deploys ? ', then a deploy' : ''}`);
    const begin = performance.now();
    await using ebb = await startEbb();
    up.push(performance.now() - begin);
    if (i >= deploys) continue;
    const before = performance.now();
    await ebb.ok('deploy', join(root, 'examples/hello'));
    const answer = await request(ebb.gatewayPort, 'hello.default.localhost', '/');
    if (answer.status !== 200) throw new Error(`hello answered ${answer.status}: ${answer.body}`);
    deployed.push(performance.now() - before);
  }
  add('startup', 'ms', 'ms', median(up));
  add('deploy', 'ms', 'ms', median(deployed));
}

async function idle(): Promise<void> {
  await using ebb = await startEbb();
  await ebb.ok('deploy', join(root, 'examples/hello'), '--name', 's-0', '--scale-to-zero-after', '1s');
  using client = new Client(await loadKubeconfig(join(ebb.dataDir, 'kubeconfig')));
  const { spec } = await client.get<ServiceShape>(`${collection}/s-0`);
  const image = spec.template.spec.containers[0]?.image ?? '';

  let there = 1;
  for (const size of sizes) {
    const begin = performance.now();
    await grow(client, image, there, size);
    there = size;
    await ebb.until(
      'no instance runs',
      async () => Object.entries(await instances(client)).every(([state, n]) => state === 'standby' || n === 0),
      600_000,
    );
    say(`${size} services are at zero after ${Math.round((performance.now() - begin) / 1000)} s`);
    await sleep(settleMs);
    await measure(ebb, client, size);
  }
}

/** Deploys services `s-FROM` to `s-TO`, each through a real instance that goes when it has been idle for a second. */
async function grow(client: Client, image: string, from: number, to: number): Promise<void> {
  let next = from;
  const worker = async () => {
    for (;;) {
      const i = next++;
      if (i >= to) return;
      if (i % 100 === 0) say(`service ${i} of ${to}`);
      await client.json('POST', collection, { body: service(`s-${i}`, image) });
      while (!(await isReady(client, `s-${i}`))) await sleep(100);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

function service(name: string, image: string): object {
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name },
    spec: {
      template: {
        metadata: { annotations: { 'ebb.dev/scale-to-zero-after': '1s' } },
        spec: { containers: [{ image }] },
      },
    },
  };
}

interface ServiceShape {
  spec: { template: { spec: { containers: { image: string }[] } } };
  status?: { conditions?: { type: string; status: string; message?: string }[] };
}

async function isReady(client: Client, name: string): Promise<boolean> {
  const { status } = await client.get<ServiceShape>(`${collection}/${name}`);
  const ready = status?.conditions?.find((c) => c.type === 'Ready');
  if (ready?.status === 'False') throw new Error(`service ${name} is not ready: ${ready.message ?? ''}`);
  return ready?.status === 'True';
}

async function instances(client: Client): Promise<Record<string, number>> {
  return (await client.get<{ counts: { instances: Record<string, number> } }>('/apis/ebb.dev/v1alpha1/status')).counts
    .instances;
}

async function measure(ebb: TestEbb, client: Client, size: number): Promise<void> {
  const control = ebb.controlPid();
  const gateway = await ebb.gatewayPid();
  const cpu = () => cpuMicros(control) + cpuMicros(gateway);
  const [before, begin] = [cpu(), performance.now()];
  await sleep(idleMs);
  const percent = (cpu() - before) / 10 / (performance.now() - begin);
  const [ofControl, ofGateway] = [must(memoryOf(control)), must(memoryOf(gateway))];
  const sandboxes = processesWith(join(ebb.runDir, 'sandboxes')).filter((pid) => pid !== control && pid !== gateway);

  // Only now: counting what is there makes work.
  const { items } = await client.get<{ items: ServiceShape[] }>(collection);
  const ready = items.filter((s) => s.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'));
  if (ready.length !== size) throw new Error(`${ready.length} of ${size} services are ready`);
  const { standby = 0 } = await instances(client);

  const name = `idle-${size}`;
  const mb = (bytes: number) => bytes / 2 ** 20;
  add(name, 'rss_mb', 'MiB', mb(together([ofControl, ofGateway])));
  add(name, 'rss_control_mb', 'MiB', mb(ofControl.rss));
  add(name, 'rss_gateway_mb', 'MiB', mb(ofGateway.rss));
  add(name, 'cpu_percent', '%', percent);
  add(name, 'standbys', '', standby);
  const standbys = sandboxes.flatMap((pid) => memoryOf(pid) ?? []);
  add(
    name,
    'standby_mb',
    'MiB',
    standbys.reduce((sum, p) => sum + mb(p.pss), 0),
  );
}

function must(memory: Memory | undefined): Memory {
  if (!memory) throw new Error('a process of Ebb has ended');
  return memory;
}
