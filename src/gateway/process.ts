import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock, type Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { layout, type Paths } from '../platform/paths.ts';
import { readLines } from './lines.ts';
import { readFromGateway } from './messages.ts';
import { wireVersion, type FromGateway, type ToGateway } from './wire.ts';

const startMs = 10_000;
const quitMs = 35_000;
const firstRestartMs = 50;
const maxRestartMs = 5_000;

export interface EnsureGatewayOptions {
  paths: Paths;
  /** `HOST:PORT`; port 0 takes a free one, which a restarted gateway keeps. */
  listen: string;
  logger: Logger;
  clock?: Clock;
  /** For how long requests in flight may go on after `quit`. */
  graceMs?: number;
}

/**
 * Finds the live gateway of `paths.runDir`, or starts one in a session of its own, so that it outlives this process. A gateway
 * of another wire version is told to quit and is replaced at once; its last requests end beside its successor.
 *
 * Throws `PortTaken`, `GatewayFailed`.
 */
export async function ensureGateway(options: EnsureGatewayOptions): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(options);
  await gateway.start();
  return gateway;
}

/** The gateway's process, restarted when it dies for as long as this object is not disposed. */
export class GatewayProcess implements Disposable {
  readonly #options: EnsureGatewayOptions;
  readonly #clock: Clock;
  readonly #socketPath: string;
  #listen: string;
  #hello: Hello | undefined;
  /** Open while the gateway lives; says nothing. */
  #watch: Socket | undefined;
  #restartMs = firstRestartMs;
  #restart: Disposable | undefined;
  #over = false;

  constructor(options: EnsureGatewayOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#socketPath = layout(options.paths).gatewaySocket;
    this.#listen = options.listen;
  }

  /** Where it listens for requests: `HOST:PORT`. */
  get address(): string {
    return this.#hello?.address ?? this.#listen;
  }

  get pid(): number {
    return this.#hello?.pid ?? 0;
  }

  /** Where a {@link GatewayLink} connects to. */
  get socketPath(): string {
    return this.#socketPath;
  }

  /** Called by {@link ensureGateway}. */
  async start(): Promise<void> {
    let found = await greet(this.#socketPath);
    if (found && found.hello.version !== wireVersion) {
      this.#options.logger.info({ pid: found.hello.pid, version: found.hello.version }, 'replacing an older gateway');
      send(found.socket, { type: 'quit' });
      await this.#until(async () => !(await answers(this.#socketPath)), 'the old gateway did not quit');
      found.socket.destroy();
      found = undefined;
    }
    this.#adopt(found ?? (await this.#spawn()));
  }

  /** The gateway ends: no new requests, those in flight finish (bounded). Resolves when it is gone. */
  async quit(): Promise<void> {
    this.#over = true;
    this.#restart?.[Symbol.dispose]();
    // The connection that is open reaches it even if somebody removed the socket's file.
    const watched = this.#watch && !this.#watch.destroyed && this.#hello;
    const found = watched && this.#watch ? { socket: this.#watch, hello: watched } : await greet(this.#socketPath);
    if (!found) return;
    const { socket, hello } = found;
    const timeout = this.#options.graceMs === undefined ? quitMs : this.#options.graceMs + 5_000;
    const ended = new Promise<boolean>((resolve) => {
      const timer = this.#clock.after(timeout, () => resolve(false));
      socket.once('close', () => {
        timer[Symbol.dispose]();
        resolve(true);
      });
    });
    send(socket, { type: 'quit' });
    if (!(await ended)) {
      this.#options.logger.warn({ pid: hello.pid }, 'the gateway did not quit in time; killing it');
      kill(hello.pid, 'SIGKILL');
      socket.destroy();
    }
  }

  /** Stops watching; the gateway lives on. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#restart?.[Symbol.dispose]();
    this.#watch?.destroy();
  }

  #adopt(found: Greeted): void {
    this.#hello = found.hello;
    this.#watch = found.socket;
    // A free port was taken: who restarts must be found there again.
    if (this.#listen.endsWith(':0')) this.#listen = found.hello.address;
    if (this.#over) {
      found.socket.destroy();
      return;
    }
    const since = this.#clock.monotonic();
    found.socket.once('close', () => {
      if (this.#over) return;
      if (this.#clock.monotonic() - since > 10_000) this.#restartMs = firstRestartMs;
      this.#options.logger.warn({ pid: found.hello.pid }, 'the gateway died; starting another');
      void this.#revive();
    });
  }

  async #revive(): Promise<void> {
    if (this.#over) return;
    try {
      this.#adopt((await greet(this.#socketPath)) ?? (await this.#spawn()));
    } catch (error) {
      this.#options.logger.error({ error: messageOf(error), retryMs: this.#restartMs }, 'the gateway does not start');
      this.#restart = this.#clock.after(this.#restartMs, () => void this.#revive());
      this.#restartMs = Math.min(maxRestartMs, this.#restartMs * 2);
    }
  }

  async #spawn(): Promise<Greeted> {
    const files = layout(this.#options.paths);
    mkdirSync(dirname(files.gatewayLog), { recursive: true });
    mkdirSync(this.#options.paths.runDir, { recursive: true });
    const log = openSync(files.gatewayLog, 'a', 0o640);
    const args = ['--socket', files.gatewaySocket, '--listen', this.#listen, '--access-log', files.accessLog];
    args.push('--info', files.gatewayInfo);
    if (this.#options.graceMs !== undefined) args.push('--grace-ms', String(this.#options.graceMs));
    const main = fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url));
    // glibc's settings that keep the control process small (bin/ebb) would cost the gateway system calls under load.
    // Its own session: a Ctrl-C in the terminal of the control process, or that process's end, is not the gateway's.
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, ...args], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MALLOC_'))),
    });
    closeSync(log);
    let failure: string | undefined;
    child.once('error', (error) => (failure = error.message));
    child.once('exit', (code, signal) => (failure = this.#exitText(code, signal)));
    child.unref();
    let greeted: Greeted | undefined;
    await this.#until(
      async () => {
        greeted = await greet(this.#socketPath);
        if (!greeted && failure !== undefined) throw new EbbError(failureCode(failure), 500, failure);
        return greeted !== undefined;
      },
      `the gateway did not answer within ${startMs / 1000} s; its log is ${files.gatewayLog}`,
    );
    if (!greeted) throw new EbbError('GatewayFailed', 500, 'the gateway did not answer');
    return greeted;
  }

  #exitText(code: number | null, signal: NodeJS.Signals | null): string {
    // Exit code 3 is main.ts's PortTaken.
    if (code === 3) return `${this.#listen} is in use by another program; choose another address for the gateway`;
    const { gatewayLog } = layout(this.#options.paths);
    return `the gateway ended at once (${signal ?? `exit ${code}`}); its log is ${gatewayLog}`;
  }

  async #until(done: () => Promise<boolean>, message: string): Promise<void> {
    const end = this.#clock.monotonic() + startMs;
    while (!(await done())) {
      if (this.#clock.monotonic() > end) throw new EbbError('GatewayFailed', 500, message);
      await new Promise<void>((resolve) => void setTimeout(resolve, 10));
    }
  }
}

type Hello = Extract<FromGateway, { type: 'hello' }>;

interface Greeted {
  hello: Hello;
  socket: Socket;
}

/** Connects and waits for the greeting; undefined if nobody is there. */
function greet(path: string): Promise<Greeted | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const give = () => {
      socket.destroy();
      resolve(undefined);
    };
    const timer = setTimeout(give, 2_000);
    socket.once('error', give);
    socket.once('close', give);
    readLines(socket, (line) => {
      let message: FromGateway;
      try {
        message = readFromGateway(line);
      } catch {
        give(); // Whoever this is, it is no gateway.
        return;
      }
      if (message.type !== 'hello') return;
      clearTimeout(timer);
      socket.off('close', give);
      socket.off('error', give);
      socket.on('error', () => undefined); // 'close' follows.
      socket.unref();
      resolve({ hello: message, socket });
    });
    socket.once('connect', () => send(socket, { type: 'hello', version: wireVersion }));
    socket.once('close', () => clearTimeout(timer));
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function send(socket: Socket, message: ToGateway): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

function failureCode(failure: string): string {
  return failure.includes('is in use') ? 'PortTaken' : 'GatewayFailed';
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it went in the meantime, which is what was wanted.
  }
}
