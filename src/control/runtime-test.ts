import { checkRuntime } from '../engine/local/runtime.ts';
import { systemSpawner } from '../platform/spawn.ts';

/**
 * Whether an OCI runtime can make, start and delete a container here, for `ebb doctor`; takes about a tenth of a second and
 * leaves nothing. `problem` is one sentence, undefined when all went well.
 */
export async function runtimeTest(
  command: string,
): Promise<{ name: string; version: string; problem: string | undefined }> {
  const { name, version, problem } = await checkRuntime(systemSpawner, command);
  return { name, version: version ?? '', problem };
}
