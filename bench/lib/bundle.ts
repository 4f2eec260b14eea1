import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openImageStore } from '../../src/images/store.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { systemSpawner } from '../../src/platform/spawn.ts';
import { run, type TestEbb } from '../../test/support/ebb.ts';

/** An OCI bundle of a deployed service's image, on the host's network, for running it by hand. */
export interface Bundle extends AsyncDisposable {
  dir: string;
  setPort(port: number): void;
}

/** Unpacks a copy of the image in a store of the bench's own, so that Ebb's is not touched. */
export async function bundleOf(ebb: TestEbb, service: string, work: string): Promise<Bundle> {
  const object = await ebb.json<{ spec: { template: { spec: { containers: { image: string }[] } } } }>(
    'describe',
    service,
  );
  const reference = object.spec.template.spec.containers[0]?.image ?? '';
  const copy = join(work, `images-${service}`);
  const copied = await run('cp', ['-a', join(ebb.dataDir, 'images'), copy]);
  if (copied.code !== 0) throw new Error(copied.stderr);
  await using store = await openImageStore({
    dir: copy,
    logger: silentLogger,
    spawner: systemSpawner,
    clock: systemClock,
  });
  const image = await store.ensure(reference);

  const dir = join(work, `bundle-${service}`);
  const rootfs = join(dir, 'rootfs');
  for (const path of [rootfs, join(dir, 'upper'), join(dir, 'work')]) mkdirSync(path, { recursive: true });
  const lower = image.layerDirs.toReversed().join(':');
  const options = `lowerdir=${lower},upperdir=${join(dir, 'upper')},workdir=${join(dir, 'work')}`;
  const mounted = await run('mount', ['-t', 'overlay', 'overlay', '-o', options, rootfs]);
  if (mounted.code !== 0) throw new Error(mounted.stderr);
  const config = image.config.config ?? {};

  return {
    dir,
    setPort(port) {
      const namespaces = ['pid', 'mount', 'ipc', 'uts'].map((type) => ({ type }));
      writeFileSync(
        join(dir, 'config.json'),
        JSON.stringify({
          ociVersion: '1.0.2',
          process: {
            user: { uid: 65532, gid: 65532 },
            args: [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
            env: [...(config.Env ?? []), `PORT=${port}`],
            cwd: config.WorkingDir || '/',
            noNewPrivileges: true,
          },
          root: { path: 'rootfs' },
          mounts: [
            { destination: '/proc', type: 'proc', source: 'proc' },
            { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
            { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=1777'] },
          ],
          linux: { namespaces, cgroupsPath: `/ebb-bench-${process.pid}` },
        }),
      );
    },
    async [Symbol.asyncDispose]() {
      const result = await run('umount', [rootfs]);
      if (result.code !== 0) throw new Error(result.stderr);
    },
  };
}
