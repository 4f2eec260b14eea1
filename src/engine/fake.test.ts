import { test } from 'node:test';
import assert from 'node:assert/strict';
import { EbbError } from '../platform/errors.ts';
import { FakeClock } from '../platform/clock.ts';
import { engineContract } from './contract.ts';
import type { Workload } from './engine.ts';
import { FakeEngine } from './fake.ts';

function workload(revision: string): Workload {
  const spec = { containers: [{ image: 'registry.test/hi:1' }] };
  return {
    namespace: 'default',
    revision,
    service: 'hi',
    configuration: 'hi',
    uid: `uid-${revision}`,
    spec,
    annotations: {},
  };
}

for (const contract of engineContract) {
  test(`fake engine: ${contract.name}`, () =>
    contract.run(({ drain }) => {
      const engine = new FakeEngine({ clock: new FakeClock(), drain });
      return Promise.resolve({
        engine,
        workload,
        crash: (instance) => engine.crash(instance.id),
        [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
      });
    }));
}

test('fake engine does what the test says', async () => {
  const engine = new FakeEngine({ clock: new FakeClock(), autoReady: false });
  engine.failPrepare('registry.test/hi:1', new EbbError('ImageNotFound', 404, 'no such image'));
  await assert.rejects(engine.prepare(workload('a-00001')), { code: 'ImageNotFound' });
  engine.failPrepare('registry.test/hi:1', undefined);
  await engine.prepare(workload('a-00001'));
  engine.scale('default/a-00001', { instances: 1, standby: 0 });
  const id = engine.instances()[0]?.id ?? '';
  engine.print(id, 'hello');
  const lines = [];
  for await (const line of engine.logs({ of: { instance: id }, signal: new AbortController().signal }))
    lines.push(line.text);
  assert.deepEqual(lines, ['hello']);
  engine.makeReady(id);
  assert.equal(engine.instances()[0]?.status.state, 'ready');
  engine.crash(id, { code: 3 }, { replace: false });
  assert.deepEqual(engine.instances(), []);
});
