import { createHash } from 'node:crypto';

/**
 * The short name under which one Ebb's kernel objects (bridge, network namespaces, cgroups, nftables table) go: six hex
 * digits of its data directory's path, the same at every start, so that what a former process left is found again.
 */
export function engineId(dataDir: string): string {
  return createHash('sha256').update(dataDir).digest('hex').slice(0, 6);
}
