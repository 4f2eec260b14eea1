import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import { GatewayLink } from './link.ts';

it('a link that ends lets go of those who wait for a drain', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-link-'));
  const link = new GatewayLink({
    path: join(dir, 'nobody.sock'),
    snapshot: () => ({ routes: [], revisions: [], instances: [] }),
    logger: silentLogger,
    clock: new FakeClock(),
  });
  const aborted = new AbortController();
  const drains = [link.drain('a'), link.drain('a', aborted.signal), link.drain('b')];
  link[Symbol.dispose]();
  await Promise.all(drains);
  aborted.abort(new Error('too late to matter'));
  await rm(dir, { recursive: true });
  assert.equal(link.connected, false);
});
