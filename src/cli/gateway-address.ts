import { EbbError } from '../platform/errors.ts';
import { parseListen } from '../platform/options.ts';
import { codes } from './exit.ts';

/** The gateway's part of the API's status answer. */
export interface GatewayStatus {
  address?: string;
  pid?: number;
  connected?: boolean;
}

/** Where to connect to reach the gateway from this machine: what listens everywhere is reached by loopback. */
export function gatewayEndpoint(gateway: GatewayStatus | undefined): { host: string; port: number } {
  if (!gateway?.address) {
    throw new EbbError(codes.unreachable, 503, 'the gateway is not running: see "ebb status"');
  }
  const { host, port } = parseListen('gateway', gateway.address.replace(/^https?:\/\//, ''), '127.0.0.1');
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: host === '::' ? '::1' : host, port };
}
