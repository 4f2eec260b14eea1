import { once } from 'node:events';
import { createServer } from 'node:net';
import { errnoOf } from '../platform/errors.ts';
import { parseListen } from '../platform/options.ts';
import { fail, ok, type Check } from './check.ts';
import { portOwner } from './port-owner.ts';

/**
 * Whether an address can be listened on. What the running Ebb itself holds is fine, and so is a gateway that has outlived
 * its control process.
 * @param option how to choose another, for the fix
 */
export function portCheck(
  id: string,
  what: string,
  option: string,
  address: string,
  ours: { runDir: string; running: { pid: number } | undefined },
): Check {
  return {
    id,
    what,
    async run() {
      const listen = parseListen(option.replace(/^--/, ''), address, '0.0.0.0');
      const error = await tryListen(listen.host, listen.port);
      if (error === undefined) return ok(`${address} is free`);
      const owner = portOwner(listen.port);
      if (owner && (owner.pid === ours.running?.pid || owner.command.includes(ours.runDir))) {
        return ok(`${address} is held by this Ebb (pid ${owner.pid})`);
      }
      const choose = `choose another: "ebb up ${option} HOST:PORT"`;
      switch (error) {
        case 'EADDRINUSE': {
          const by = owner ? `by ${owner.name} (pid ${owner.pid})` : 'by another process';
          return fail(`${address} is taken ${by}`, `stop that, or ${choose}`);
        }
        case 'EACCES':
          return fail(`${address} may not be used without root`, `run as root, or ${choose}`);
        case 'EADDRNOTAVAIL':
          return fail(`this machine has no address ${listen.host}`, choose);
        default:
          return fail(`${address} cannot be listened on (${error})`, choose);
      }
    },
  };
}

async function tryListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? 'unknown error';
  } finally {
    server.close();
  }
}
