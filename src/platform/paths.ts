import { join } from 'node:path';

/**
 * Where one Ebb keeps its files. `dataDir` survives reboots (state, images, logs), `runDir` does not (sockets, sandboxes).
 * Several Ebbs run side by side when both differ.
 */
export interface Paths {
  dataDir: string;
  runDir: string;
}

export const defaultPaths: Paths = { dataDir: '/var/lib/ebb', runDir: '/run/ebb' };

/** The names of every file and folder below the two roots that more than one part of the program knows. */
export function layout(paths: Paths) {
  const data = (...p: string[]) => join(paths.dataDir, ...p);
  const run = (...p: string[]) => join(paths.runDir, ...p);
  return {
    /** Held (flock-like) by the one control process of this data directory. */
    lock: data('ebb.lock'),
    kubeconfig: data('kubeconfig'),
    stateDb: data('state.db'),
    pki: data('pki'),
    images: data('images'),
    logs: data('logs'),
    controlLog: data('logs', 'control.log'),
    gatewayLog: data('logs', 'gateway.log'),
    accessLog: data('logs', 'access.log'),
    /** Facts of the running control process: pid, addresses, start time. JSON. */
    controlInfo: run('control.json'),
    gatewayInfo: run('gateway.json'),
    /** The gateway listens here for its control process. */
    gatewaySocket: run('gateway.sock'),
    sandboxes: run('sandboxes'),
  };
}
