import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../platform/clock.ts';
import { EbbError } from '../../platform/errors.ts';
import { silentLogger } from '../../platform/logger.ts';
import type { Revision } from '../../resources/index.ts';
import type { RevisionRuntime } from '../ports.ts';
import { createPreparations } from './preparations.ts';

const revision: Revision = {
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Revision',
  metadata: { namespace: 'default', name: 'r' },
  spec: { containers: [{ image: 'x' }] },
};

test('what failed is tried at once when asked to, and once only', async () => {
  let missing = true;
  let tries = 0;
  let told = Promise.withResolvers<void>();
  const prepare: RevisionRuntime['prepare'] = async () => {
    tries++;
    if (missing) throw new EbbError('ReferenceMissing', 422, 'secret "s" not found');
    return { images: [] };
  };
  const clock = new FakeClock();
  const runtime = { prepare } as unknown as RevisionRuntime; // nothing else of it is asked
  const changed = () => told.resolve();
  await using preparations = createPreparations({ runtime, clock, logger: silentLogger, changed });

  preparations.retry('default/r');
  preparations.start('default/r', revision);
  await told.promise;
  assert.deepEqual(preparations.of('default/r'), {
    state: 'failed',
    message: 'secret "s" not found',
    code: 'ReferenceMissing',
  });

  missing = false;
  told = Promise.withResolvers<void>();
  preparations.retry('default/r');
  preparations.retry('default/r');
  await told.promise;
  assert.deepEqual(preparations.of('default/r'), { state: 'prepared', images: [] });
  preparations.retry('default/r');
  clock.advance(600_000);
  await new Promise(setImmediate);
  assert.equal(tries, 2);
});
