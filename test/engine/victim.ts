import { createLocalEngine } from '../../src/engine/local/engine.ts';
import type { ImageStore, LocalImage } from '../../src/images/images.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemSpawner } from '../../src/platform/spawn.ts';

// A control process to be killed: makes an engine, scales a workload, says so, and waits for its end.

const { layer, ...folders } = JSON.parse(process.argv[2] ?? '{}') as {
  layer: string;
  id: string;
  runDir: string;
  logsDir: string;
};
const image: LocalImage = {
  reference: 'ebb.local/app:1',
  resolved: `ebb.local/app@sha256:${'0'.repeat(64)}`,
  manifest: { mediaType: '', digest: `sha256:${'0'.repeat(64)}`, size: 0 },
  config: {
    architecture: 'amd64',
    os: 'linux',
    config: { Entrypoint: ['/bin/app'] },
    rootfs: { type: 'layers', diff_ids: [] },
  },
  layerDirs: [layer],
};
const engine = await createLocalEngine({
  ...folders,
  images: { ensure: () => Promise.resolve(image) } as unknown as ImageStore, // the engine calls nothing else of it
  spawner: systemSpawner,
  clock: systemClock,
  logger: silentLogger,
  drain: () => Promise.resolve(),
});
await engine.adopt([]);
const names = { namespace: 'default', revision: 'victim-00001', service: 'victim', configuration: 'victim' };
const spec = { containers: [{ image: image.reference }] };
await engine.prepare({ ...names, uid: 'victim', annotations: {}, spec });
engine.scale('default/victim-00001', { instances: 3, standby: 2 });
process.stdout.write('scaled\n');
setInterval(() => undefined, 1000);
