import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Configuration, Revision, Route, Service, TrafficTarget } from '../resources/index.ts';
import type { StoreChange } from './changes.ts';
import { conditionOf, readiness } from './conditions.ts';
import { planConfiguration } from './configuration/plan.ts';
import { keys } from './names.ts';
import { planRevision, routingStateOf, type RevisionObservation } from './revision/plan.ts';
import { ownerOfLabel, planRoute, type RouteObservation } from './route/plan.ts';
import { planService } from './service/plan.ts';

const now = '2026-01-01T00:00:00Z';
const names = { domain: 'localhost', port: 8080 };

const revision = (
  name: string,
  ready?: 'True' | 'False' | 'Unknown',
  more: Partial<Revision['metadata']> = {},
): Revision => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Revision',
  metadata: {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    generation: 1,
    ...more,
    labels: { [keys.configuration]: 'hello', [keys.service]: 'hello', ...more.labels },
    ownerReferences: [
      {
        apiVersion: 'serving.knative.dev/v1',
        kind: 'Configuration',
        name: 'hello',
        uid: 'uid-config',
        controller: true,
      },
    ],
  },
  spec: { containers: [{ name: 'user-container', image: 'hi:1' }] },
  ...(ready ? { status: { conditions: [{ type: 'Ready', status: ready, message: 'because.' }] } } : {}),
});

const configuration = (generation: number, status?: Configuration['status']): Configuration => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Configuration',
  metadata: { name: 'hello', namespace: 'default', uid: 'uid-config', generation, labels: { [keys.service]: 'hello' } },
  spec: { template: { metadata: { labels: { l: '1' }, annotations: { a: '1' } }, spec: revision('x').spec } },
  ...(status ? { status } : {}),
});

const route = (traffic: TrafficTarget[], status?: Route['status']): Route => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Route',
  metadata: {
    name: 'hello',
    namespace: 'default',
    uid: 'uid-route',
    generation: 3,
    labels: { [keys.service]: 'hello' },
  },
  spec: { traffic },
  ...(status ? { status } : {}),
});

const gen = (r: Revision, generation: number): Revision => ({
  ...r,
  metadata: { ...r.metadata, labels: { ...r.metadata.labels, [keys.configurationGeneration]: String(generation) } },
});

/** The object as a status change in a plan leaves it. */
const afterStatus = <T extends object>(object: T, changes: readonly { do: string }[]): T => {
  const change = (changes as readonly StoreChange[]).find((c) => c.do === 'update-status');
  return change ? { ...object, status: (change.object as { status?: unknown }).status } : object;
};

describe('planConfiguration', () => {
  const plan = (
    c: Configuration,
    revisions: Revision[],
    named = revisions.find((r) => r.metadata.name === 'hello-00002'),
  ) => planConfiguration({ configuration: c, revisions, named, now });
  const ready = (changes: StoreChange[]) => conditionOf(afterStatus(configuration(2), changes), 'Ready');

  it('makes the Revision of its generation from the template alone', () => {
    const [create] = plan(configuration(2), []);
    assert.equal(create?.do, 'create');
    const made = create.do === 'create' ? (create.object as Revision) : undefined;
    assert.equal(made?.metadata.name, 'hello-00002');
    assert.deepEqual(made?.metadata.labels, {
      l: '1',
      [keys.service]: 'hello',
      [keys.configuration]: 'hello',
      [keys.configurationUID]: 'uid-config',
      [keys.configurationGeneration]: '2',
      [keys.routingState]: 'pending',
    });
    assert.deepEqual(made?.metadata.annotations, { a: '1', [keys.routingStateModified]: now });
  });

  const one = gen(revision('hello-00001', 'True'), 1);
  const before: Configuration['status'] = {
    latestCreatedRevisionName: 'hello-00001',
    latestReadyRevisionName: 'hello-00001',
  };
  const table: [string, Revision[], string | undefined, string, string | undefined][] = [
    [
      'a new one that is ready takes over',
      [one, gen(revision('hello-00002', 'True'), 2)],
      'hello-00002',
      'True',
      undefined,
    ],
    [
      'a new one on its way does not',
      [one, gen(revision('hello-00002', 'Unknown'), 2)],
      'hello-00001',
      'Unknown',
      undefined,
    ],
    [
      'a new one that failed does not',
      [one, gen(revision('hello-00002', 'False'), 2)],
      'hello-00001',
      'False',
      'RevisionFailed',
    ],
    [
      'the present one stays though it is not ready any more',
      [gen(revision('hello-00001', 'False'), 1), gen(revision('hello-00002', 'Unknown'), 2)],
      'hello-00001',
      'Unknown',
      undefined,
    ],
    [
      'the present one was deleted',
      [gen(revision('hello-00002', 'Unknown'), 2)],
      undefined,
      'False',
      'RevisionDeleted',
    ],
    [
      'one of a foreign owner never counts',
      [
        one,
        {
          ...gen(revision('hello-00009', 'True'), 9),
          metadata: { ...gen(revision('hello-00009'), 9).metadata, ownerReferences: [] },
        },
        gen(revision('hello-00002', 'Unknown'), 2),
      ],
      'hello-00001',
      'Unknown',
      undefined,
    ],
  ];
  for (const [name, revisions, latest, status, reason] of table) {
    it(name, () => {
      const changes = plan(configuration(2, before), revisions);
      const after = afterStatus(configuration(2, before), changes);
      assert.equal(after.status?.latestReadyRevisionName, latest);
      assert.equal(after.status?.latestCreatedRevisionName, 'hello-00002');
      assert.equal(ready(changes)?.status, status);
      if (reason) assert.equal(ready(changes)?.reason, reason);
      assert.deepEqual(plan(after, revisions), [], 'nothing more to do');
    });
  }

  it('quotes why the new one failed', () => {
    const changes = plan(configuration(2, before), [one, gen(revision('hello-00002', 'False'), 2)]);
    assert.equal(ready(changes)?.message, 'Revision "hello-00002" failed with message: because.');
  });

  it('says that the name is taken', () => {
    const foreign = {
      ...revision('hello-00002'),
      metadata: { ...revision('hello-00002').metadata, ownerReferences: [] },
    };
    const changes = plan(configuration(2, before), [one], foreign);
    assert.match(ready(changes)?.message ?? '', /"hello-00002" already exists/);
    assert.ok(!changes.some((c) => c.do === 'create'));
  });
});

describe('planRoute', () => {
  const observe = (
    r: Route,
    world: { latest?: string; config?: 'True' | 'False' | 'Unknown'; revisions?: Revision[] },
  ): RouteObservation => ({
    route: r,
    configuration: (name) =>
      name === 'hello'
        ? configuration(1, {
            conditions: [{ type: 'Ready', status: world.config ?? 'True' }],
            ...(world.latest ? { latestReadyRevisionName: world.latest } : {}),
          })
        : undefined,
    revision: (name) => world.revisions?.find((x) => x.metadata.name === name),
    ownerOf: () => undefined,
    names,
    now,
  });
  const latest = [{ configurationName: 'hello', latestRevision: true, percent: 100 }];
  const a = revision('a', 'True');

  const table: [string, TrafficTarget[], Parameters<typeof observe>[1], string, string | undefined][] = [
    ['the latest ready one', latest, { latest: 'a', revisions: [a] }, 'True', undefined],
    [
      'the latest ready one, though it fails now',
      latest,
      { latest: 'a', revisions: [revision('a', 'False')] },
      'True',
      undefined,
    ],
    ['none yet', latest, { config: 'Unknown' }, 'Unknown', 'RevisionMissing'],
    ['none ever', latest, { config: 'False' }, 'False', 'RevisionMissing'],
    ['no such configuration', [{ configurationName: 'x', percent: 100 }], {}, 'False', 'ConfigurationMissing'],
    ['no such revision', [{ revisionName: 'x', percent: 100 }], {}, 'False', 'RevisionMissing'],
    [
      'by name, on its way',
      [{ revisionName: 'a', percent: 100 }],
      { revisions: [revision('a')] },
      'Unknown',
      'RevisionMissing',
    ],
    [
      'by name, failed',
      [{ revisionName: 'a', percent: 100 }],
      { revisions: [revision('a', 'False')] },
      'False',
      'RevisionMissing',
    ],
    [
      "by name, another Service's",
      [{ revisionName: 'a', percent: 100 }],
      { revisions: [revision('a', 'True', { labels: { [keys.service]: 'other' } })] },
      'False',
      'RevisionNotOwned',
    ],
    [
      'percentages that do not add up',
      [{ revisionName: 'a', percent: 60 }],
      { revisions: [a] },
      'False',
      'TrafficInvalid',
    ],
  ];
  for (const [name, traffic, world, status, reason] of table) {
    it(name, () => {
      const { changes, hosts } = planRoute(observe(route(traffic), world));
      const after = afterStatus(route(traffic), changes);
      const assigned = conditionOf(after, 'AllTrafficAssigned');
      assert.equal(assigned?.status, status);
      assert.equal(assigned?.reason, reason);
      assert.equal(hosts.length > 0, status === 'True');
      assert.equal(conditionOf(after, 'CertificateProvisioned')?.reason, 'TLSNotEnabled');
    });
  }

  it('serves what it served while a target is missing', () => {
    const old = [{ revisionName: 'a', latestRevision: true, percent: 100 }];
    const { hosts, changes } = planRoute(
      observe(route([{ revisionName: 'gone', percent: 100 }], { traffic: old }), { revisions: [a] }),
    );
    assert.deepEqual(hosts[0]?.targets, [{ revision: 'default/a', percent: 100 }]);
    assert.deepEqual(afterStatus(route([]), changes).status?.traffic, old);
  });

  it('publishes only the cluster-local name where that is asked', () => {
    const local = route(latest);
    local.metadata.labels = { ...local.metadata.labels, [keys.visibility]: 'cluster-local' };
    const { hosts, changes } = planRoute(observe(local, { latest: 'a', revisions: [a] }));
    assert.deepEqual(
      hosts.map((h) => h.host),
      ['hello.default.svc.cluster.local'],
    );
    assert.equal(afterStatus(local, changes).status?.url, 'http://hello.default.svc.cluster.local');
  });

  it('gives a label to the Route of that name, else to the oldest', () => {
    const named = (name: string, creationTimestamp: string): Route => ({
      ...route([]),
      metadata: { name, creationTimestamp },
    });
    assert.equal(ownerOfLabel('a-b', [named('b', '2026-01-01'), named('a-b', '2026-02-01')]), 'a-b');
    assert.equal(ownerOfLabel('a-b-c', [named('c', '2026-03-01'), named('b-c', '2026-02-01')]), 'b-c');
    assert.equal(ownerOfLabel('x', []), undefined);
  });

  it('always sends 100 percent somewhere or leaves all as it was; planning again changes nothing', () => {
    const target = fc.record({
      name: fc.constantFrom('a', 'b', 'c', undefined),
      weight: fc.nat(10),
      tag: fc.option(fc.constantFrom('x', 'y'), { nil: undefined }),
    });
    const readyArb = fc.constantFrom<('True' | 'False' | 'Unknown')[]>('True', 'True', 'True', 'False', 'Unknown');
    fc.assert(
      fc.property(
        fc.array(target, { minLength: 1, maxLength: 6 }),
        fc.array(readyArb, { minLength: 3, maxLength: 3 }),
        (targets, states) => {
          const total = targets.reduce((n, t) => n + t.weight, 0);
          let left = 100;
          const traffic = targets.map((t, i): TrafficTarget => {
            const percent = i === targets.length - 1 ? left : Math.floor((t.weight * 100) / Math.max(1, total));
            left -= percent;
            return {
              ...(t.name ? { revisionName: t.name } : { configurationName: 'hello' }),
              percent,
              ...(t.tag ? { tag: t.tag } : {}),
            };
          });
          const revisions = ['a', 'b', 'c'].map((n, i) => revision(n, states[i]));
          const old = [{ revisionName: 'b', latestRevision: false, percent: 100 }];
          const first = route(traffic, { traffic: old });
          const world = { latest: 'c', revisions };
          const { changes, hosts } = planRoute(observe(first, world));
          const main = hosts.find((h) => h.host === 'hello.default.localhost');
          assert.equal(
            main?.targets.reduce((n, t) => n + t.percent, 0),
            100,
          );
          assert.equal(new Set(main?.targets.map((t) => t.revision)).size, main?.targets.length);
          for (const host of hosts)
            assert.equal(
              host.targets.reduce((n, t) => n + t.percent, 0),
              100,
            );
          const after = afterStatus(first, changes);
          if (conditionOf(after, 'AllTrafficAssigned')?.status !== 'True') assert.deepEqual(after.status?.traffic, old);
          const again = planRoute(observe(after, world));
          assert.deepEqual(again.changes, []);
          assert.deepEqual(again.hosts, hosts);
        },
      ),
    );
  });
});

describe('planRevision', () => {
  const idle = { ready: 0, starting: 0, standby: 0, desired: 0, everReady: false };
  const observe = (o: Partial<RevisionObservation> = {}): RevisionObservation => ({
    revision: revision('hello-00001', undefined, { labels: { [keys.routingState]: 'pending' } }),
    view: idle,
    preparation: { state: 'none' },
    deployed: undefined,
    servedBy: [],
    awaited: true,
    overdue: false,
    now,
    ...o,
  });
  const deployed = { reachable: true, initialDone: false };
  const prepared = { state: 'prepared', images: [{ name: 'user-container', digest: 'hi@sha256:1' }] } as const;
  const failure = { code: 1, reason: 'Error', message: 'exited with code 1', lastLogLines: ['boom'], failures: 1 };
  const up: Partial<RevisionObservation> = { preparation: prepared as never, deployed };

  const table: [string, Partial<RevisionObservation>, string, string | undefined, RegExp | undefined][] = [
    ['at the beginning', {}, 'Unknown', 'ResolvingDigests', undefined],
    [
      'while the image comes',
      { preparation: { state: 'preparing', progress: 'hi:1: 1.0 of 2.0 MB' } },
      'Unknown',
      'ResolvingDigests',
      /1.0 of 2.0 MB/,
    ],
    [
      'no image',
      { preparation: { state: 'failed', message: 'no such tag' } },
      'False',
      'ContainerMissing',
      /^Unable to fetch image "hi:1": no such tag$/,
    ],
    [
      'no secret',
      { preparation: { state: 'failed', message: 'secret "s" not found', code: 'ReferenceMissing' } },
      'False',
      'CreateContainerConfigError',
      /^secret "s" not found$/,
    ],
    ['starting', { ...up, view: { ...idle, starting: 1, desired: 1 } }, 'Unknown', 'Deploying', undefined],
    ['ready', { ...up, view: { ...idle, ready: 1, desired: 1, everReady: true } }, 'True', undefined, undefined],
    ['back at zero', { ...up, view: { ...idle, everReady: true } }, 'True', undefined, undefined],
    ['exited', { ...up, view: { ...idle, failure } }, 'False', 'ExitCode1', /^Container failed with: boom$/],
    ['one of two exited', { ...up, view: { ...idle, ready: 1, failure } }, 'True', undefined, undefined],
    [
      'out of memory',
      {
        ...up,
        view: {
          ...idle,
          failure: { ...failure, code: 137, reason: 'OOMKilled', message: 'killed: used more than its 64Mi of memory' },
        },
      },
      'False',
      'OOMKilled',
      /64Mi.*it last printed: boom/,
    ],
    ['too late', { ...up, overdue: true }, 'False', 'ProgressDeadlineExceeded', /Initial scale was never achieved/],
  ];
  for (const [name, o, status, reason, message] of table) {
    it(name, () => {
      const seen = observe(o);
      const ready = conditionOf(afterStatus(seen.revision, planRevision(seen)), 'Ready');
      assert.equal(ready?.status, status);
      assert.equal(ready?.reason, reason);
      if (message) assert.match(ready?.message ?? '', message);
    });
  }

  it('keeps an endless log from filling the status', () => {
    const seen = observe({
      ...up,
      view: { ...idle, failure: { ...failure, lastLogLines: ['x'.repeat(100_000), 'the end'] } },
    });
    const message = conditionOf(afterStatus(seen.revision, planRevision(seen)), 'Ready')?.message ?? '';
    assert.ok(message.length < 2100 && message.startsWith('Container failed with: ') && message.endsWith('the end'));
  });

  it('starts nothing for what is in reserve, but takes down what still runs of it', () => {
    const reserve = revision('hello-00001', 'True', { labels: { [keys.routingState]: 'reserve' } });
    const kinds = (o: Partial<RevisionObservation>) =>
      planRevision(observe({ revision: reserve, awaited: false, ...o })).map((c) => c.do);
    assert.ok(!kinds({}).includes('prepare'));
    assert.ok(kinds({ view: { ...idle, ready: 2 } }).includes('prepare'));
    const changes = planRevision(
      observe({ revision: reserve, awaited: false, view: { ...idle, ready: 2 }, preparation: prepared as never }),
    );
    assert.deepEqual(
      changes.find((c) => c.do === 'deploy'),
      { do: 'deploy', options: { reachable: false, initialDone: true } },
    );
  });

  const states: [string, string, 'True' | 'False' | 'Unknown', string[], boolean, string][] = [
    ['served', 'pending', 'True', ['hello'], true, 'active'],
    ['new', 'pending', 'Unknown', [], true, 'pending'],
    ['ready, its Route about to move', 'pending', 'True', [], true, 'pending'],
    ['overtaken, undecided', 'pending', 'Unknown', [], false, 'pending'],
    ['overtaken, failed', 'pending', 'False', [], false, 'reserve'],
    ['ready, nobody wants it', 'pending', 'True', [], false, 'reserve'],
    ['no longer served', 'active', 'True', [], false, 'reserve'],
    ['in reserve, named by a Route', 'reserve', 'True', [], true, 'reserve'],
    ['in reserve and broken, named by a Route', 'reserve', 'False', [], true, 'pending'],
  ];
  for (const [name, before, ready, servedBy, awaited, after] of states) {
    it(`${name}: ${after}`, () => {
      const r = revision('r', ready, { labels: { [keys.routingState]: before } });
      assert.equal(routingStateOf({ revision: r, servedBy, awaited }), after);
    });
  }

  it('heals when what was missing has come, and not before', () => {
    const failed = { state: 'failed', message: 'secret "s" not found', code: 'ReferenceMissing' } as const;
    const readyAfter = (revision: Revision, preparation: RevisionObservation['preparation'], initialDone: boolean) => {
      const seen = observe({ revision, preparation, view: { ...idle, everReady: initialDone } });
      const after = afterStatus(revision, planRevision(seen));
      const { status, reason } = conditionOf(after, 'Ready') ?? {};
      return { after, ready: [status, reason] };
    };
    for (const initialDone of [false, true]) {
      const broken = readyAfter(revision('r', 'Unknown'), failed, initialDone);
      assert.deepEqual(broken.ready, ['False', 'CreateContainerConfigError']);
      const restarted = readyAfter(broken.after, { state: 'preparing', progress: undefined }, initialDone);
      assert.deepEqual(restarted.ready[0], 'False');
      const healed = readyAfter(broken.after, prepared as never, initialDone);
      assert.deepEqual(healed.ready, initialDone ? ['True', undefined] : ['Unknown', 'Deploying']);
    }
  });

  it('comes to rest within a few turns, whatever it sees', () => {
    const viewArb = fc.record({
      ready: fc.nat(2),
      starting: fc.nat(2),
      standby: fc.nat(1),
      desired: fc.nat(2),
      everReady: fc.boolean(),
      failure: fc.option(fc.constant(failure), { nil: undefined }),
    });
    const preparationArb = fc.constantFrom<RevisionObservation['preparation'][]>(
      { state: 'none' },
      { state: 'failed', message: 'm' },
      { state: 'failed', message: 'm', code: 'ReferenceMissing' },
      prepared as never,
    );
    const stateArb = fc.constantFrom('pending', 'active', 'reserve');
    const readyArb = fc.constantFrom<('True' | 'False' | 'Unknown')[]>('True', 'False', 'Unknown');
    fc.assert(
      fc.property(
        viewArb,
        preparationArb,
        stateArb,
        readyArb,
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (view, preparation, state, ready, awaited, served, overdue) => {
          let seen = observe({
            revision: revision('r', ready, { labels: { [keys.routingState]: state } }),
            view,
            preparation,
            awaited,
            servedBy: served ? ['hello'] : [],
            overdue,
          });
          for (let turn = 0; turn < 6; turn++) {
            const changes = planRevision(seen);
            if (changes.length === 0) return;
            for (const change of changes) {
              if (change.do === 'update') {
                seen = { ...seen, revision: { ...seen.revision, metadata: change.object.metadata } };
              } else if (change.do === 'prepare')
                seen = { ...seen, preparation: { state: 'preparing', progress: undefined } };
              else if (change.do === 'deploy') seen = { ...seen, deployed: change.options };
            }
            seen = { ...seen, revision: afterStatus(seen.revision, changes) };
          }
          assert.fail(`never at rest: ${JSON.stringify(planRevision(seen))}`);
        },
      ),
    );
  });
});

describe('planService', () => {
  const service = (traffic?: TrafficTarget[]): Service => ({
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: {
      name: 'hello',
      namespace: 'default',
      uid: 'uid-service',
      generation: 1,
      labels: { l: '1' },
      annotations: { a: '1', [keys.lastApplied]: '{}', [keys.rolloutDuration]: '10s' },
    },
    spec: { template: { spec: revision('x').spec }, ...(traffic ? { traffic } : {}) },
  });
  const apply = (changes: StoreChange[]) => {
    const made = changes.flatMap((c) => (c.do === 'create' || c.do === 'update' ? [c.object] : []));
    const stored = (kind: string) => {
      const o = made.find((m) => m.kind === kind);
      return o && { ...o, metadata: { ...o.metadata, uid: `uid-${kind}`, generation: 1 } };
    };
    return { configuration: stored('Configuration') as Configuration, route: stored('Route') as Route };
  };

  it('copies labels and annotations but what is not for the child', () => {
    const changes = planService({
      service: service(),
      configuration: undefined,
      route: undefined,
      named: undefined,
      now,
    });
    const { configuration: c, route: r } = apply(changes);
    assert.deepEqual(c.metadata.labels, { l: '1', [keys.service]: 'hello', [keys.serviceUID]: 'uid-service' });
    assert.deepEqual(c.metadata.annotations, { a: '1' });
    assert.deepEqual(r.metadata.annotations, { a: '1', [keys.rolloutDuration]: '10s' });
    assert.deepEqual(r.spec.traffic, [{ configurationName: 'hello', latestRevision: true, percent: 100 }]);
  });

  it('is at rest once its children are made, and again after each change', () => {
    const targetArb = fc.record(
      { revisionName: fc.constantFrom('a', 'b'), percent: fc.nat(100), tag: fc.constantFrom('x', 'y') },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.option(fc.array(targetArb, { maxLength: 4 }), { nil: undefined }), (traffic) => {
        const first = service(traffic as TrafficTarget[]);
        const changes = planService({
          service: first,
          configuration: undefined,
          route: undefined,
          named: undefined,
          now,
        });
        const after = afterStatus(first, changes);
        assert.deepEqual(planService({ service: after, ...apply(changes), named: undefined, now }), []);
      }),
    );
  });

  it('is ready only when its traffic has moved', () => {
    const made = apply(
      planService({ service: service(), configuration: undefined, route: undefined, named: undefined, now }),
    );
    const ready = [{ type: 'Ready', status: 'True' as const }];
    const c = {
      ...made.configuration,
      status: { observedGeneration: 1, conditions: ready, latestReadyRevisionName: 'b' },
    };
    const at = (revisionName: string) => {
      const r = {
        ...made.route,
        status: { observedGeneration: 1, conditions: ready, traffic: [{ revisionName, percent: 100 }] },
      };
      return afterStatus(
        service(),
        planService({ service: service(), configuration: c, route: r, named: undefined, now }),
      );
    };
    assert.equal(conditionOf(at('a'), 'Ready')?.reason, 'TrafficNotMigrated');
    assert.equal(readiness(at('b')), 'True');
  });
});
