import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalEngine } from '../engine/local/engine.ts';
import { ensureGateway } from '../gateway/process.ts';
import { openImageStore } from '../images/store.ts';
import { systemClock } from '../platform/clock.ts';
import { keepAlive } from '../platform/keep-alive.ts';
import { silentLogger } from '../platform/logger.ts';
import type { ControlOptions } from '../platform/options.ts';
import { layout } from '../platform/paths.ts';
import { systemSpawner } from '../platform/spawn.ts';
import { engineId } from './engine-id.ts';
import { lockDataDir } from './lock.ts';

/**
 * Removes what a killed control process left: its gateway, instances, mounts, networks and cgroups. State, images and logs
 * stay. Throws EbbError AlreadyRunning if a control process lives.
 */
export async function runCleanup(options: ControlOptions): Promise<void> {
  const files = layout(options);
  using _alive = keepAlive();
  using _lock = lockDataDir(files.lock, options.dataDir);
  const shared = { clock: systemClock, spawner: systemSpawner, logger: silentLogger };
  if (existsSync(files.gatewaySocket)) {
    const gateway = await ensureGateway({ paths: options, listen: '127.0.0.1:0', logger: silentLogger });
    await gateway.quit();
  }
  await using images = await openImageStore({ dir: files.images, ...shared });
  const engine = await createLocalEngine({
    id: engineId(options.dataDir),
    runDir: options.runDir,
    logsDir: join(files.logs, 'instances'),
    images,
    drain: async () => undefined,
    ...shared,
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
  });
  await engine.adopt([]);
  await engine.shutdown();
  for (const file of [files.controlInfo, files.gatewayInfo, files.gatewaySocket]) rmSync(file, { force: true });
}
