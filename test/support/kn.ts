import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { findGo } from '../conformance/toolchain.ts';
import { root } from './ebb.ts';

const execute = promisify(execFile);
const pins = join(root, 'test/kn');

/**
 * Knative's own command line, compiled once from the pinned module that `test/kn/go.sum` holds the checksums of.
 * Undefined where there is no Go, or no way to the module, or where it is not compiled yet and nobody asked for that: it takes
 * minutes (`npm run test:kn`).
 */
export async function findKn(): Promise<string | undefined> {
  const go = await findGo();
  if (go === undefined) return undefined;
  const { stdout: version } = await execute(go, ['version']);
  const key = createHash('sha256').update(version);
  for (const file of ['go.mod', 'go.sum']) key.update(await readFile(join(pins, file)));
  const kn = join(root, 'node_modules/.cache/ebb-kn', key.digest('hex').slice(0, 16), 'kn');
  if (existsSync(kn)) return kn;
  if (process.env['EBB_BUILD_KN'] !== '1') return undefined;
  const partial = `${kn}.${process.pid}`;
  await mkdir(dirname(kn), { recursive: true });
  try {
    const options = { cwd: pins, env: { ...process.env, CGO_ENABLED: '0' }, maxBuffer: 2 ** 26 };
    await execute(go, ['build', '-ldflags=-s -w', '-o', partial, 'knative.dev/client/cmd/kn'], options);
    await rename(partial, kn);
    return kn;
  } catch (error) {
    console.error(`kn cannot be built: ${String(error).slice(0, 500)}`);
    return undefined;
  } finally {
    await rm(partial, { force: true });
  }
}
