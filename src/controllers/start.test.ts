import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';
import { systemClock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import { silentLogger } from '../platform/logger.ts';
import type { Configuration, KubeObject, Revision, Route, Service } from '../resources/index.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import type { ResourceStore } from '../store/store.ts';
import { readiness, conditionOf } from './conditions.ts';
import type {
  DeployOptions,
  EventRecord,
  PublishedRoute,
  RevisionRuntime,
  RuntimeFailure,
  RuntimeView,
} from './ports.ts';
import { startControllers, type Controllers } from './start.ts';

const group = 'serving.knative.dev';

/** Prepares at once and makes what is deployed ready at once, unless told otherwise. */
function fakeRuntime() {
  const views = new Map<string, RuntimeView>();
  const listeners = new Set<(namespace: string, name: string) => void>();
  const prepared: string[] = [];
  const deployed = new Map<string, DeployOptions>();
  const deployedSpecs = new Map<string, Revision>();
  const retired: string[] = [];
  const badImages = new Map<string, EbbError>();
  let auto = true;
  let writes = 0;
  const set = (key: string, view: Partial<RuntimeView>) => {
    const none = { ready: 0, starting: 0, standby: 0, desired: 0, everReady: false };
    views.set(key, { ...none, ...views.get(key), ...view });
    const [namespace = '', name = ''] = key.split('/');
    for (const listener of listeners) listener(namespace, name);
  };
  const key = (r: Revision) => `${r.metadata.namespace}/${r.metadata.name}`;
  const runtime: RevisionRuntime = {
    async prepare(revision) {
      prepared.push(key(revision));
      await Promise.resolve();
      const images = revision.spec.containers.map(({ name = 'user-container', image }) => {
        const bad = badImages.get(image);
        if (bad) throw bad;
        return { name, digest: `${image.split(':')[0]}@sha256:${'a'.repeat(64)}` };
      });
      return { images };
    },
    deploy(revision, options) {
      deployed.set(key(revision), options);
      deployedSpecs.set(key(revision), revision);
      if (auto && options.reachable && !options.initialDone)
        set(key(revision), { ready: 1, desired: 1, everReady: true });
    },
    async retire(namespace, name) {
      retired.push(`${namespace}/${name}`);
      views.delete(`${namespace}/${name}`);
    },
    observe: (namespace, name) =>
      views.get(`${namespace}/${name}`) ?? { ready: 0, starting: 0, standby: 0, desired: 0, everReady: false },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    onReferenceChange: () => ({ [Symbol.dispose]: () => undefined }),
  };
  return {
    runtime,
    set,
    prepared,
    deployed,
    deployedSpecs,
    retired,
    badImages,
    manual: () => (auto = false),
    count: () => writes++,
    get writes() {
      return writes;
    },
  };
}

interface World extends AsyncDisposable {
  store: ResourceStore;
  fake: ReturnType<typeof fakeRuntime>;
  table: Map<string, readonly PublishedRoute[]>;
  events: EventRecord[];
  controllers: Controllers;
  /** Stops the controllers and starts others on the same store, with a runtime that knows nothing. */
  restart(): Promise<void>;
  get<T extends KubeObject>(kind: string, name: string): Promise<T | undefined>;
  /** Resolves with the object as soon as `done` says so of a stored version. */
  until<T extends KubeObject>(kind: string, name: string, done: (object: T) => boolean): Promise<T>;
  hosts(): Record<string, PublishedRoute['targets']>;
}

async function world(): Promise<World> {
  const inner = await openSqliteStore({ file: ':memory:', clock: systemClock });
  let fake = fakeRuntime();
  const store: ResourceStore = {
    get: (key) => inner.get(key),
    list: (kind, options) => inner.list(kind, options),
    watch: (kind, options) => inner.watch(kind, options),
    create: (object) => (fake.count(), inner.create(object)),
    update: (object) => (fake.count(), inner.update(object)),
    updateStatus: (object) => (fake.count(), inner.updateStatus(object)),
    delete: (key, options) => inner.delete(key, options),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
  const table = new Map<string, readonly PublishedRoute[]>();
  const events: EventRecord[] = [];
  const start = () =>
    startControllers({
      store,
      runtime: fake.runtime,
      publisher: { publish: (route, hosts) => void (hosts.length > 0 ? table.set(route, hosts) : table.delete(route)) },
      recordEvent: (event) => events.push(event),
      domain: 'localhost',
      gatewayPort: 8080,
      clock: systemClock,
      logger: silentLogger,
    });
  const w: World = {
    store,
    get fake() {
      return fake;
    },
    table,
    events,
    controllers: await start(),
    async restart() {
      await w.controllers[Symbol.asyncDispose]();
      fake = fakeRuntime();
      fake.manual();
      table.clear();
      w.controllers = await start();
    },
    get: (kind, name) => store.get({ group, kind, namespace: 'default', name }),
    async until<T extends KubeObject>(kind: string, name: string, done: (object: T) => boolean) {
      const signal = AbortSignal.timeout(10_000);
      for await (const event of store.watch<T>({ group, kind }, { signal })) {
        if (event.type === 'BOOKMARK' || event.type === 'DELETED') continue;
        if (event.object.metadata.name === name && done(event.object)) return event.object;
      }
      const last = JSON.stringify(await w.get(kind, name), null, 1);
      throw new Error(`${kind} ${name} never got there: ${last}`);
    },
    hosts: () => Object.fromEntries([...table.values()].flat().map((h) => [h.host, h.targets])),
    async [Symbol.asyncDispose]() {
      await w.controllers[Symbol.asyncDispose]();
      await inner[Symbol.asyncDispose]();
    },
  };
  return w;
}

const service = (name: string, image: string, more: Partial<Service['spec']> = {}): Service => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', labels: { team: 'a' }, annotations: { note: 'x' } },
  spec: { template: { spec: { containers: [{ name: 'user-container', image }] } }, ...more },
});
const isReady = (s: Service) => readiness(s) === 'True' && s.status?.observedGeneration === s.metadata.generation;
const failure = (f: Partial<RuntimeFailure>): RuntimeFailure => ({
  code: 1,
  reason: 'Error',
  message: 'exited with code 1',
  lastLogLines: ['starting', 'Error: no database'],
  failures: 1,
  ...f,
});

describe('controllers', () => {
  let w: World;
  afterEach(() => w[Symbol.asyncDispose]());

  it('take a Service to a served revision', async () => {
    w = await world();
    await w.store.create(service('hello', 'hi:1'));
    const done = await w.until<Service>('Service', 'hello', isReady);
    assert.equal(done.status?.url, 'http://hello.default.localhost:8080');
    assert.equal(done.status?.address?.url, 'http://hello.default.svc.cluster.local');
    assert.equal(done.status?.latestReadyRevisionName, 'hello-00001');
    assert.deepEqual(done.status?.traffic, [{ revisionName: 'hello-00001', latestRevision: true, percent: 100 }]);
    assert.deepEqual(w.hosts()['hello.default.localhost'], [{ revision: 'default/hello-00001', percent: 100 }]);

    await w.controllers.settled();
    const revision = await w.get<Revision>('Revision', 'hello-00001');
    assert.equal(revision?.metadata.labels?.['serving.knative.dev/routingState'], 'active');
    assert.equal(revision?.metadata.annotations?.['serving.knative.dev/routes'], 'hello');
    assert.equal(revision?.metadata.labels?.['serving.knative.dev/service'], 'hello');
    assert.match(revision?.status?.containerStatuses?.[0]?.imageDigest ?? '', /^hi@sha256:a+$/);
    assert.equal(
      w.fake.deployedSpecs.get('default/hello-00001')?.status?.containerStatuses?.[0]?.imageDigest,
      revision?.status?.containerStatuses?.[0]?.imageDigest,
    );
    const configuration = await w.get<Configuration>('Configuration', 'hello');
    assert.equal(configuration?.metadata.labels?.['team'], 'a');
    assert.equal(configuration?.metadata.ownerReferences?.[0]?.controller, true);
    const reasons = new Set(w.events.map((e) => e.reason));
    for (const reason of ['Created', 'RevisionReady', 'ConfigurationReady', 'LatestReadyUpdate']) {
      assert.ok(reasons.has(reason), reason);
    }
  });

  it('move traffic to a new revision only once it is ready, and rest the old one', async () => {
    w = await world();
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
    w.fake.manual();
    const current = await w.get<Service>('Service', 'hello');
    await w.store.update({ ...current!, spec: service('hello', 'hi:2').spec });
    await w.until<Revision>(
      'Revision',
      'hello-00002',
      (r) => conditionOf(r, 'ContainerHealthy')?.reason === 'Deploying',
    );
    assert.deepEqual(w.hosts()['hello.default.localhost'], [{ revision: 'default/hello-00001', percent: 100 }]);

    w.fake.set('default/hello-00002', { ready: 1, desired: 1, everReady: true });
    const done = await w.until<Service>('Service', 'hello', isReady);
    assert.equal(done.status?.latestReadyRevisionName, 'hello-00002');
    assert.deepEqual(w.hosts()['hello.default.localhost'], [{ revision: 'default/hello-00002', percent: 100 }]);
    await w.until<Revision>(
      'Revision',
      'hello-00001',
      (r) => r.metadata.labels?.['serving.knative.dev/routingState'] === 'reserve',
    );
    await w.controllers.settled();
    assert.deepEqual(w.fake.deployed.get('default/hello-00001'), { reachable: false, initialDone: true });
    assert.deepEqual(w.fake.deployed.get('default/hello-00002'), { reachable: true, initialDone: true });
  });

  it('say within the Service why a container that exits is not ready, serve the old one on, and heal', async () => {
    w = await world();
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
    w.fake.manual();
    const current = await w.get<Service>('Service', 'hello');
    await w.store.update({ ...current!, spec: service('hello', 'bad:1').spec });
    await w.until<Revision>(
      'Revision',
      'hello-00002',
      (r) => conditionOf(r, 'ContainerHealthy')?.reason === 'Deploying',
    );
    w.fake.set('default/hello-00002', { starting: 0, desired: 1, failure: failure({}) });
    const revision = await w.until<Revision>('Revision', 'hello-00002', (r) => readiness(r) === 'False');
    const ready = conditionOf(revision, 'Ready');
    assert.equal(ready?.reason, 'ExitCode1');
    assert.equal(ready?.message, 'Container failed with: starting\nError: no database');
    const failed = await w.until<Service>('Service', 'hello', (s) => readiness(s) === 'False');
    assert.match(
      conditionOf(failed, 'Ready')?.message ?? '',
      /Revision "hello-00002" failed with message: .*no database/s,
    );
    assert.equal(failed.status?.latestReadyRevisionName, 'hello-00001');
    assert.deepEqual(w.hosts()['hello.default.localhost'], [{ revision: 'default/hello-00001', percent: 100 }]);

    w.fake.set('default/hello-00002', { ready: 1, everReady: true, failure: undefined });
    const healed = await w.until<Service>('Service', 'hello', isReady);
    assert.equal(healed.status?.latestReadyRevisionName, 'hello-00002');
  });

  it('name the image that cannot be fetched', async () => {
    w = await world();
    w.fake.badImages.set('nope:1', new EbbError('ImageNotFound', 404, 'the registry has no such image'));
    await w.store.create(service('hello', 'nope:1'));
    const failed = await w.until<Service>('Service', 'hello', (s) => readiness(s) === 'False');
    assert.match(
      conditionOf(failed, 'Ready')?.message ?? '',
      /Unable to fetch image "nope:1": the registry has no such image/,
    );
    const revision = await w.get<Revision>('Revision', 'hello-00001');
    assert.equal(conditionOf(revision, 'Ready')?.reason, 'ContainerMissing');
    assert.deepEqual(w.hosts(), {});
    // The image is pushed; the next try finds it.
    w.fake.badImages.clear();
    await w.until<Service>('Service', 'hello', isReady);
  });

  it('split traffic and give each tag a host', async () => {
    w = await world();
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
    const current = await w.get<Service>('Service', 'hello');
    const traffic = [
      { revisionName: 'hello-00001', percent: 70, tag: 'old' },
      { latestRevision: true, percent: 30 },
    ];
    await w.store.update({ ...current!, spec: { ...service('hello', 'hi:2').spec, traffic } });
    const done = await w.until<Service>('Service', 'hello', (s) => isReady(s) && s.status?.traffic?.length === 2);
    assert.equal(done.status?.traffic?.[0]?.url, 'http://old-hello.default.localhost:8080');
    const hosts = w.hosts();
    assert.deepEqual(hosts['hello.default.localhost'], [
      { revision: 'default/hello-00001', percent: 70 },
      { revision: 'default/hello-00002', percent: 30 },
    ]);
    assert.deepEqual(hosts['old-hello.default.localhost'], [{ revision: 'default/hello-00001', percent: 100 }]);
  });

  it('take everything away with the Service, and take the same name again', async () => {
    w = await world();
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
    await w.store.delete({ group, kind: 'Service', namespace: 'default', name: 'hello' });
    await w.controllers.settled();
    assert.deepEqual(w.hosts(), {});
    assert.deepEqual(w.fake.retired, ['default/hello-00001']);
    assert.equal(await w.get('Revision', 'hello-00001'), undefined);
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
  });

  it('leave what is ready as it is through a restart', async () => {
    w = await world();
    for (let i = 0; i < 20; i++) await w.store.create(service(`s${i}`, 'hi:1'));
    for (let i = 0; i < 20; i++) await w.until<Service>('Service', `s${i}`, isReady);
    await w.controllers.settled();
    const before = await w.get<Revision>('Revision', 's3-00001');
    const table = w.hosts();
    await w.restart();
    assert.deepEqual(w.hosts(), table, 'published before anything is reconciled');
    await w.controllers.settled();
    await w.until<Revision>('Revision', 's3-00001', (r) => conditionOf(r, 'Active')?.reason === 'NoTraffic');
    await w.controllers.settled();
    const after = await w.get<Revision>('Revision', 's3-00001');
    assert.equal(conditionOf(after, 'Ready')?.lastTransitionTime, conditionOf(before, 'Ready')?.lastTransitionTime);
    assert.deepEqual(after?.status?.containerStatuses, before?.status?.containerStatuses);
    assert.equal(w.fake.deployed.size, 20);
    for (const options of w.fake.deployed.values()) assert.deepEqual(options, { reachable: true, initialDone: true });
    assert.ok(w.fake.writes <= 20, `one status each, that nothing runs any more: ${w.fake.writes}`);

    await w.restart();
    await w.controllers.settled();
    assert.equal(w.fake.writes, 0, 'and then nothing');
  });

  it('keep a failure through a restart until there is news', async () => {
    w = await world();
    w.fake.manual();
    await w.store.create(service('hello', 'hi:1'));
    await w.until<Revision>(
      'Revision',
      'hello-00001',
      (r) => conditionOf(r, 'ContainerHealthy')?.reason === 'Deploying',
    );
    w.fake.set('default/hello-00001', { failure: failure({ code: 3, lastLogLines: [] }) });
    await w.until<Revision>('Revision', 'hello-00001', (r) => readiness(r) === 'False');
    await w.controllers.settled();
    await w.restart();
    await w.controllers.settled();
    const revision = await w.get<Revision>('Revision', 'hello-00001');
    assert.equal(conditionOf(revision, 'Ready')?.reason, 'ExitCode3');
    assert.equal(conditionOf(revision, 'Ready')?.message, 'Container failed with: exited with code 1');
    assert.deepEqual(w.fake.deployed.get('default/hello-00001'), { reachable: true, initialDone: false });
  });

  it('refuse a revision name that is taken', async () => {
    w = await world();
    const named = (name: string, image: string): Service => {
      const s = service(name, image);
      return { ...s, spec: { template: { ...s.spec.template, metadata: { name: 'hello-blue' } } } };
    };
    await w.store.create(named('hello', 'hi:1'));
    await w.until<Service>('Service', 'hello', isReady);
    const current = await w.get<Service>('Service', 'hello');
    await w.store.update({ ...current!, spec: named('hello', 'hi:2').spec });
    const refused = await w.until<Service>('Service', 'hello', (s) => readiness(s) === 'False');
    assert.equal(conditionOf(refused, 'RoutesReady')?.reason, 'RevisionNameTaken');
    assert.deepEqual(w.hosts()['hello.default.localhost'], [{ revision: 'default/hello-blue', percent: 100 }]);
    const back = await w.get<Service>('Service', 'hello');
    await w.store.update({ ...back!, spec: named('hello', 'hi:1').spec });
    await w.until<Service>('Service', 'hello', isReady);
  });

  it('do not touch a Configuration or Route of someone else', async () => {
    w = await world();
    const { spec } = service('hello', 'hi:1');
    await w.store.create({
      apiVersion: 'serving.knative.dev/v1',
      kind: 'Configuration',
      metadata: { name: 'hello', namespace: 'default' },
      spec: { template: spec.template },
    } as Configuration);
    await w.store.create(service('hello', 'hi:2'));
    const refused = await w.until<Service>('Service', 'hello', (s) => readiness(s) === 'False');
    assert.equal(conditionOf(refused, 'ConfigurationsReady')?.reason, 'NotOwned');
  });

  it('give a host to the Route of that name rather than to a tag', async () => {
    w = await world();
    const traffic = [{ latestRevision: true, percent: 100, tag: 'a' }];
    await w.store.create(service('b', 'hi:1', { traffic }));
    await w.until<Service>('Service', 'b', isReady);
    assert.deepEqual(w.hosts()['a-b.default.localhost'], [{ revision: 'default/b-00001', percent: 100 }]);
    await w.store.create(service('a-b', 'hi:1'));
    await w.until<Service>('Service', 'a-b', isReady);
    const route = await w.until<Route>('Route', 'b', (r) => readiness(r) === 'False');
    assert.equal(conditionOf(route, 'IngressReady')?.reason, 'NotOwned');
    assert.deepEqual(w.hosts()['a-b.default.localhost'], [{ revision: 'default/a-b-00001', percent: 100 }]);
    await w.store.delete({ group, kind: 'Service', namespace: 'default', name: 'a-b' });
    await w.until<Service>('Service', 'b', isReady);
    assert.deepEqual(w.hosts()['a-b.default.localhost'], [{ revision: 'default/b-00001', percent: 100 }]);
  });
});
