import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createAutoscaler } from '../autoscaler/driver.ts';
import { startControllers } from '../controllers/start.ts';
import { createLocalEngine } from '../engine/local/engine.ts';
import { GatewayLink } from '../gateway/link.ts';
import { ensureGateway } from '../gateway/process.ts';
import { openImageStore } from '../images/store.ts';
import { systemClock } from '../platform/clock.ts';
import { messageOf } from '../platform/errors.ts';
import { keepAlive } from '../platform/keep-alive.ts';
import { createLogger } from '../platform/logger.ts';
import { parseControlArgs, parseListen, type ControlOptions } from '../platform/options.ts';
import { layout } from '../platform/paths.ts';
import { identify } from '../platform/process-ref.ts';
import { systemSpawner } from '../platform/spawn.ts';
import type { Revision } from '../resources/index.ts';
import { createEventRecorder } from '../store/events.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import { startApi } from './api/start.ts';
import { engineId } from './engine-id.ts';
import { createGatewayTable } from './gateway-table.ts';
import { startImageCollector } from './image-collector.ts';
import { removeControlInfo, writeControlInfo } from './info.ts';
import { lockDataDir } from './lock.ts';
import { readReferences, watchReferences } from './references.ts';
import { createRevisionRuntime } from './revision-runtime.ts';
import { scalerDefaults, standbyCount } from './scaling.ts';
import { version } from './version.ts';
import { revisionEntryOf, workloadOf } from './workload.ts';

/**
 * The control process, from start to end. Resolves when everything is stopped: after `signal` aborts or a client asks for
 * it. A process that is killed instead leaves gateway and instances running; the next one finds and adopts them.
 *
 * Throws EbbError (AlreadyRunning, PortTaken, RuntimeUnusable ...) when it cannot start; what it had started is stopped.
 */
export async function runControl(options: ControlOptions, signal: AbortSignal): Promise<void> {
  const files = layout(options);
  for (const dir of [options.dataDir, options.runDir, files.logs]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const clock = systemClock;
  const spawner = systemSpawner;
  const logger = createLogger({ level: options.logLevel });
  const stop = new AbortController();
  const stopped = AbortSignal.any([signal, stop.signal]);

  // Started top to bottom, stopped bottom to top: the stack is the shutdown order.
  await using stack = new AsyncDisposableStack();
  stack.use(keepAlive());
  stack.use(lockDataDir(files.lock, options.dataDir));

  const gatewayStarting = ensureGateway({ paths: options, listen: options.gatewayListen, logger });
  gatewayStarting.catch(() => undefined); // awaited below; another part may fail first
  const store = stack.use(await openSqliteStore({ file: files.stateDb, clock }));
  const images = stack.use(await openImageStore({ dir: files.images, logger, spawner, clock }));

  // Made last: until then there is nobody to tell.
  let link: GatewayLink | undefined; // eslint-disable-line prefer-const -- closures above its assignment read it
  const engine = await createLocalEngine({
    id: engineId(options.dataDir),
    runDir: options.runDir,
    logsDir: join(files.logs, 'instances'),
    images,
    spawner,
    clock,
    logger,
    // Without a gateway nothing is in flight.
    drain: async (instance, aborted) => (link?.connected ? link.drain(instance.id, aborted) : undefined),
    resolve: (workload) => readReferences(store, workload),
    // Instances call one another through the gateway.
    hostPorts: [parseListen('gateway-listen', options.gatewayListen, '0.0.0.0').port].filter((port) => port > 0),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.standbyBudgetBytes === undefined ? {} : { standbyBudgetBytes: options.standbyBudgetBytes }),
  });
  // A start that fails must not end what a former process left running.
  let adopted = false;
  let started = false;
  const leave = () => adopted && !started;
  stack.adopt(engine, (e) => (leave() ? e[Symbol.asyncDispose]() : e.shutdown()));

  const revisions = (await store.list<Revision>({ group: 'serving.knative.dev', kind: 'Revision' })).items;
  const [gateway] = await Promise.all([gatewayStarting, engine.adopt(revisions.map(workloadOf))]);
  adopted = engine.instances().length > 0;
  stack.adopt(gateway, async (g) => (leave() ? g[Symbol.dispose]() : g.quit()));

  const table = createGatewayTable({
    route: (route) => link?.setRoute(route),
    routeGone: (host) => link?.removeRoute(host),
    revision: (revision) => link?.setRevision(revision),
    revisionGone: (id) => link?.removeRevision(id),
    instance: (instance) => link?.setInstance(instance),
    instanceGone: (id) => link?.removeInstance(id),
  });
  const autoscaler = stack.use(
    createAutoscaler({
      clock,
      logger,
      scale: (revision, want) => engine.scale(revision as `${string}/${string}`, want),
      config: { standbyBudget: standbyCount(options) },
    }),
  );
  const runtime = stack.use(
    createRevisionRuntime({ engine, autoscaler, table, defaults: scalerDefaults(options), logger }),
  );
  // The gateway goes on with what it has until the table is as full as the one it was last given.
  for (const revision of revisions) table.setRevision(revisionEntryOf(revision));
  runtime.announceAdopted();

  const events = stack.use(createEventRecorder({ store, clock, logger, component: 'ebb' }));
  const controllers = stack.use(
    await startControllers({
      store,
      runtime,
      publisher: { publish: (route, hosts) => table.setRoutes(route, [...hosts]) },
      recordEvent: (event) => events.record(event),
      domain: options.domain,
      gatewayPort: parseListen('gateway-listen', gateway.address, '127.0.0.1').port,
      clock,
      logger,
    }),
  );
  stack.use(
    watchReferences({ store, clock, logger }, (namespace, changed) => runtime.referenceChanged(namespace, changed)),
  );
  await controllers.settled();
  stack.use(startImageCollector({ store, images, clock, logger }));

  link = new GatewayLink({ path: gateway.socketPath, snapshot: () => table.snapshot(), logger });
  link.on('connected', () => autoscaler.gateway(true));
  link.on('disconnected', () => autoscaler.gateway(false));
  link.on('activate', (revision, queued) => autoscaler.activate(revision, queued));
  link.on('stats', (periodMs, reports) => autoscaler.stats(periodMs, reports));
  stack.use(link);

  const api = stack.use(
    await startApi({
      options,
      store,
      engine,
      images,
      clock,
      spawner,
      logger,
      workload: (key) => runtime.workload(key),
      gateway: () => ({ address: gateway.address, pid: gateway.pid, connected: link?.connected ?? false }),
      shutdown: () => stop.abort(),
    }),
  );

  writeControlInfo(files.controlInfo, {
    pid: process.pid,
    startTime: String(identify(process.pid)?.startTicks ?? ''),
    version,
    api: api.address,
    gateway: gateway.address,
    dataDir: options.dataDir,
    startedAt: new Date(clock.now()).toISOString(),
  });
  stack.defer(() => removeControlInfo(files.controlInfo));
  started = true;
  logger.info({ api: api.address, gateway: gateway.address, version }, 'ready');

  await new Promise<void>((resolve) => {
    if (stopped.aborted) resolve();
    else stopped.addEventListener('abort', () => resolve(), { once: true });
  });
  logger.info({}, 'stopping');
}

if (import.meta.main) {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort());
  try {
    await runControl(parseControlArgs(process.argv.slice(2)), stop.signal);
    process.exit(0);
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(1);
  }
}
