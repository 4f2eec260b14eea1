import type { Spawner } from '../platform/spawn.ts';
import { cgroupCheck } from './cgroup.ts';
import type { Check, Verdict } from './check.ts';
import { diskCheck, memoryCheck, nodeCheck, rootCheck } from './host.ts';
import { namespacesCheck, networkCheck, nftablesCheck, overlayCheck, seccompCheck } from './kernel.ts';
import { packagesCheck, buildahCheck } from './packages.ts';
import { portCheck } from './ports.ts';
import { runtimeCheck } from './runtime.ts';

export interface MachineChecksOptions {
  dataDir: string;
  runDir: string;
  gatewayListen: string;
  apiListen: string;
  /** A runtime that was asked for by name or path. */
  runtime?: string;
  /** The Ebb that runs on these directories: ports that it holds are fine. */
  running?: { pid: number } | undefined;
  spawner: Spawner;
  /** Runs a real container. Without it, the runtime is only asked for its version. */
  runtimeTest?: (runtime: string, signal: AbortSignal) => Promise<Verdict>;
}

/** All that Ebb needs of this machine. */
export function machineChecks(options: MachineChecksOptions): Check[] {
  const { spawner, runDir, running } = options;
  const isRoot = process.getuid?.() === 0;
  return [
    nodeCheck(process.versions.node),
    rootCheck(isRoot),
    overlayCheck(spawner, isRoot, options.dataDir),
    namespacesCheck(),
    cgroupCheck(),
    nftablesCheck(spawner, isRoot),
    networkCheck(spawner, isRoot),
    seccompCheck(),
    packagesCheck(),
    buildahCheck(),
    runtimeCheck(spawner, options),
    portCheck('gateway-port', 'gateway port', '--gateway-listen', options.gatewayListen, { runDir, running }),
    portCheck('api-port', 'API port', '--api-listen', options.apiListen, { runDir, running }),
    diskCheck(options.dataDir),
    memoryCheck(),
  ];
}
