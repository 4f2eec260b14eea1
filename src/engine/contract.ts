import assert from 'node:assert/strict';
import { EbbError } from '../platform/errors.ts';
import type { Drain, Engine, EngineEvent, Instance, Workload, WorkloadKey } from './engine.ts';

/** An engine under test and what the tests need beside it. */
export interface ContractSubject extends AsyncDisposable {
  engine: Engine;
  /** A workload that can be prepared, serves on its port and stays up. */
  workload(revision: string): Workload;
  /** Ends an instance's process from outside. */
  crash(instance: Instance): void;
}

export interface ContractCase {
  name: string;
  run(make: (options: { drain: Drain }) => Promise<ContractSubject>): Promise<void>;
}

const noDrain: Drain = () => Promise.resolve();

/** What every {@link Engine} promises. Each case makes its own engine; runners give the cases to their test framework. */
export const engineContract: ContractCase[] = [
  {
    name: 'prepares idempotently and names the image by digest',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const workload = subject.workload('prep-00001');
      const first = await subject.engine.prepare(workload);
      assert.match(first.images[0]?.digest ?? '', /@sha256:[0-9a-f]{64}$/);
      assert.deepEqual(await subject.engine.prepare(workload), first);
      assert.deepEqual(subject.engine.instances(), []);
    },
  },
  {
    name: 'refuses to scale what is not prepared',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      assert.throws(
        () => subject.engine.scale('default/nobody-00001', { instances: 1, standby: 0 }),
        (error) => error instanceof EbbError && error.code === 'WorkloadNotPrepared',
      );
    },
  },
  {
    name: 'starts a standby in the tick of the call and tells when it is ready',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const { engine } = subject;
      const seen = record(engine);
      const key = await prepare(subject, 'start-00001');
      engine.scale(key, { instances: 0, standby: 1 });
      const [standby] = await states(engine, key, ['standby']);
      engine.scale(key, { instances: 1, standby: 0 });
      const [starting] = engine.instances(key);
      assert.equal(starting?.id, standby?.id);
      assert.equal(starting?.status.state, 'starting');
      const [ready] = await states(engine, key, ['ready']);
      assert.equal(ready?.id, standby?.id);
      assert.ok(ready?.address && ready.startedAtMs !== undefined);
      assert.deepEqual(seen(standby?.id ?? ''), ['standby', 'starting', 'ready']);
    },
  },
  {
    name: 'starts without a standby too, and as many as wanted',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const key = await prepare(subject, 'many-00001');
      subject.engine.scale(key, { instances: 3, standby: 1 });
      const all = await states(subject.engine, key, ['ready', 'ready', 'ready', 'standby']);
      assert.equal(new Set(all.map((i) => i.id)).size, 4);
      assert.equal(new Set(all.map((i) => i.address?.host)).size, 4);
    },
  },
  {
    name: 'drains before it stops, the youngest first, and forgets what is gone',
    async run(make) {
      const drained: string[] = [];
      await using subject = await make({
        drain: (instance) => Promise.resolve(void drained.push(instance.id)),
      });
      const { engine } = subject;
      const key = await prepare(subject, 'down-00001');
      const seen = record(engine);
      engine.scale(key, { instances: 1, standby: 0 });
      const [oldest] = await states(engine, key, ['ready']);
      engine.scale(key, { instances: 2, standby: 0 });
      const both = await states(engine, key, ['ready', 'ready']);
      const youngest = both.find((i) => i.id !== oldest?.id);
      engine.scale(key, { instances: 1, standby: 0 });
      assert.deepEqual(
        (await states(engine, key, ['ready'])).map((i) => i.id),
        [oldest?.id],
      );
      assert.deepEqual(drained, [youngest?.id]);
      assert.deepEqual(seen(youngest?.id ?? '').slice(-4), ['draining', 'stopping', 'exited', 'removed']);
    },
  },
  {
    name: 'replaces an instance that dies, under a new name',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const { engine } = subject;
      const key = await prepare(subject, 'die-00001');
      engine.scale(key, { instances: 1, standby: 1 });
      const before = (await states(engine, key, ['ready', 'standby'])).find((i) => i.status.state === 'ready');
      assert.ok(before);
      const failing = next(engine, (event) => event.type === 'failing');
      subject.crash(before);
      assert.equal((await failing).type, 'failing');
      const after = await states(engine, key, ['ready', 'standby']);
      assert.ok(!after.some((i) => i.id === before.id));
      assert.equal(before.restarts, 0);
      assert.equal(after.find((i) => i.status.state === 'ready')?.restarts, 1, 'it takes the place of one that failed');
    },
  },
  {
    name: 'counts no restart for an instance that was asked for',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const { engine } = subject;
      const key = await prepare(subject, 'more-00001');
      engine.scale(key, { instances: 1, standby: 0 });
      const [first] = await states(engine, key, ['ready']);
      assert.ok(first);
      const failing = next(engine, (event) => event.type === 'failing');
      subject.crash(first);
      await failing;
      await states(engine, key, ['ready']);
      engine.scale(key, { instances: 2, standby: 0 });
      const both = await states(engine, key, ['ready', 'ready']);
      assert.deepEqual(both.map((i) => i.restarts).sort(), [0, 1]);
    },
  },
  {
    name: 'removes a workload with all its instances',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const key = await prepare(subject, 'gone-00001');
      subject.engine.scale(key, { instances: 1, standby: 1 });
      await states(subject.engine, key, ['ready', 'standby']);
      await subject.engine.remove(key);
      assert.deepEqual(subject.engine.instances(key), []);
      assert.throws(() => subject.engine.scale(key, { instances: 1, standby: 0 }));
      await subject.engine.remove(key);
    },
  },
  {
    name: 'takes the same name with another uid for another workload',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const { engine } = subject;
      const workload = subject.workload('again-00001');
      const key = await prepare(subject, 'again-00001');
      engine.scale(key, { instances: 1, standby: 0 });
      const [old] = await states(engine, key, ['ready']);
      const gone = next(engine, (event) => event.type === 'removed' && event.instance.id === old?.id);
      await engine.prepare({ ...workload, uid: `${workload.uid}-2` });
      await gone;
      assert.deepEqual(engine.instances(key), []);
    },
  },
  {
    name: 'stops telling a listener that is disposed',
    async run(make) {
      await using subject = await make({ drain: noDrain });
      const key = await prepare(subject, 'quiet-00001');
      let told = 0;
      subject.engine.on(() => told++)[Symbol.dispose]();
      subject.engine.scale(key, { instances: 0, standby: 1 });
      await states(subject.engine, key, ['standby']);
      assert.equal(told, 0);
    },
  },
];

async function prepare(subject: ContractSubject, revision: string): Promise<WorkloadKey> {
  const workload = subject.workload(revision);
  await subject.engine.prepare(workload);
  return `${workload.namespace}/${workload.revision}`;
}

/** Waits until the workload's instances are in exactly these states, in any order; gives up after 20 s. */
export async function states(
  engine: Engine,
  key: WorkloadKey,
  wanted: Instance['status']['state'][],
): Promise<Instance[]> {
  const now = () => engine.instances(key).map((i) => i.status.state);
  const fits = () => now().toSorted().join() === wanted.toSorted().join();
  const given = `wanted ${wanted.join()}`;
  await until(engine, fits, () => `${given}, have ${now().join() || 'none'}`);
  return engine.instances(key);
}

/** The next event of a kind; gives up after 20 s. */
export async function next(engine: Engine, wanted: (event: EngineEvent) => boolean): Promise<EngineEvent> {
  let found: EngineEvent | undefined;
  using _listener = engine.on((event) => {
    if (!found && wanted(event)) found = event;
  });
  await until(
    engine,
    () => found !== undefined,
    () => 'waited for an event that did not come',
  );
  assert.ok(found);
  return found;
}

async function until(engine: Engine, holds: () => boolean, otherwise: () => string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  using _listener = engine.on(() => holds() && resolve());
  if (holds()) resolve();
  const patience = setTimeout(() => reject(new Error(otherwise())), 20_000);
  await promise.finally(() => clearTimeout(patience));
}

/** Collects the states that each instance goes through. */
function record(engine: Engine): (id: string) => string[] {
  const seen: { id: string; what: string }[] = [];
  engine.on((event) => {
    if (event.type === 'failing') return;
    const what = event.type === 'removed' ? 'removed' : event.instance.status.state;
    if (seen.findLast((entry) => entry.id === event.instance.id)?.what !== what)
      seen.push({ id: event.instance.id, what });
  });
  return (id) => seen.filter((entry) => entry.id === id).map((entry) => entry.what);
}
