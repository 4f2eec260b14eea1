import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { systemClock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import { createLogger, type Logger } from '../platform/logger.ts';
import { AccessLog } from './access-log.ts';
import { defaultLimits } from './context.ts';
import { ControlSocket } from './control-socket.ts';
import { Gateway } from './gateway.ts';

/** Exit codes by which the control process knows why the gateway could not start. */
export const exitCodes = { PortTaken: 3, GatewayRunning: 4, ListenFailed: 5 } as const;

/** For how long requests in flight may go on after `quit`, unless `--grace-ms` says otherwise. */
const defaultGraceMs = 30_000;

export interface MainArgs {
  socket: string;
  host: string;
  port: number;
  accessLog: string | undefined;
  info: string | undefined;
  graceMs: number;
}

/** `--socket PATH --listen HOST:PORT [--access-log PATH] [--info PATH] [--grace-ms N]`. */
export function readArgs(argv: string[]): MainArgs {
  const { values } = parseArgs({
    args: argv,
    options: {
      socket: { type: 'string' },
      listen: { type: 'string' },
      'access-log': { type: 'string' },
      info: { type: 'string' },
      'grace-ms': { type: 'string' },
    },
  });
  const listen = /^(.+):(\d{1,5})$/.exec(values.listen ?? '');
  if (values.socket === undefined || !listen?.[1] || Number(listen[2]) > 65_535) {
    throw new EbbError(
      'BadArguments',
      400,
      'usage: main.ts --socket PATH --listen HOST:PORT [--access-log PATH] [--info PATH]',
    );
  }
  return {
    socket: values.socket,
    host: listen[1].replace(/^\[(.*)\]$/, '$1'),
    port: Number(listen[2]),
    accessLog: values['access-log'],
    info: values.info,
    graceMs: Number(values['grace-ms'] ?? defaultGraceMs) || 0,
  };
}

/**
 * The gateway process. It ends on `quit`, SIGTERM or SIGINT, in this order: the control socket's name goes (a successor may
 * take it), the TCP listener closes, idle connections close, requests in flight end (bounded), the access log is written out.
 */
async function main(args: MainArgs, logger: Logger): Promise<void> {
  const accessLog =
    args.accessLog === undefined ? undefined : new AccessLog(args.accessLog, { clock: systemClock, logger });
  // Filled below: the control socket greets with the address that the gateway got.
  const peer: { control?: ControlSocket } = {};
  const gateway = new Gateway({
    clock: systemClock,
    logger,
    accessLog,
    limits: { maxConnections: connectionLimit() },
    report: (message) => peer.control?.send(message),
  });
  const bound = await gateway.listen(args.host, args.port);
  const address = bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`;

  let ending: Promise<void> | undefined;
  const end = () => {
    ending ??= (async () => {
      control.hide();
      if (args.info !== undefined) rmSync(args.info, { force: true });
      await gateway.close(args.graceMs);
      await accessLog?.[Symbol.asyncDispose]();
      await control[Symbol.asyncDispose]();
      logger.info({}, 'gateway ended');
      process.exit(0);
    })();
  };
  const control = new ControlSocket({
    path: args.socket,
    logger,
    address,
    onMessage: (message) => {
      switch (message.type) {
        case 'quit':
          end();
          return;
        case 'drain':
          gateway.drain(message.id);
          return;
        case 'sync':
          gateway.apply(message);
          gateway.resume();
          return;
        default:
          gateway.apply(message);
      }
    },
  });
  await control.listen();
  peer.control = control;
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  // The terminal that started it may close; the gateway stays.
  process.on('SIGHUP', () => undefined);
  if (args.info !== undefined) {
    writeFileSync(args.info, `${JSON.stringify({ pid: process.pid, address, socket: args.socket })}\n`, {
      mode: 0o644,
    });
  }
  logger.info({ pid: process.pid, address }, 'gateway listens');
}

/**
 * How many client connections the process's limit of open files allows: each may need another one to an instance.
 * (proc(5), /proc/PID/limits. Node raises the soft limit to the hard one by itself.)
 */
function connectionLimit(): number {
  const files = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  const spare = 256;
  const possible = files === undefined ? Infinity : Math.floor((Number(files) - spare) / 2);
  // Waiting requests have no instance connection yet: a full queue must fit even where the limit is low.
  const waiting = files === undefined ? Infinity : Number(files) - 2 * spare;
  return Math.max(64, Math.min(defaultLimits.maxConnections, Math.max(possible, Math.min(waiting, 12_000))));
}

if (import.meta.main) {
  const logger = createLogger({ name: 'gateway' });
  try {
    await main(readArgs(process.argv.slice(2)), logger);
  } catch (error) {
    logger.error({ error: messageOf(error) }, 'gateway cannot start');
    const codes: Record<string, number> = exitCodes;
    process.exit((error instanceof EbbError ? codes[error.code] : undefined) ?? 1);
  }
}
