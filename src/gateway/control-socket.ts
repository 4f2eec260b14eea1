import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { readLines } from './lines.ts';
import { readToGateway } from './messages.ts';
import { wireVersion, type FromGateway, type ToGateway } from './wire.ts';

/** A control process that does not read is cut off: it syncs again when it is back. */
const maxUnreadBytes = 8 * 1024 * 1024;

export interface ControlSocketOptions {
  path: string;
  logger: Logger;
  /** Where the gateway listens, for the greeting. */
  address: string;
  /** Hears every message of the one control process but `hello`. */
  onMessage: (message: Exclude<ToGateway, { type: 'hello' }>) => void;
}

/**
 * The gateway's side of the control connection. Who connects is greeted; who then sends a table becomes the control process,
 * in place of the one before. So others may connect just to see that the gateway lives, and when it ends.
 */
export class ControlSocket implements AsyncDisposable {
  readonly #options: ControlSocketOptions;
  readonly #server: Server;
  readonly #peers = new Set<Socket>();
  #control: Socket | undefined;

  constructor(options: ControlSocketOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Begins to listen, mode 0600. Throws `GatewayRunning` if a live gateway answers on this path already. */
  async listen(): Promise<void> {
    const { path } = this.#options;
    if (await answers(path)) throw new EbbError('GatewayRunning', 409, `a gateway is already running on ${path}`);
    rmSync(path, { force: true });
    // The mode must be right from the first moment on: the umask is in force while the socket is bound.
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(path, () => {
          this.#server.off('error', reject);
          resolve();
        });
      });
    } catch (cause) {
      throw new EbbError('ListenFailed', 500, `cannot listen on ${path}: ${messageOf(cause)}`, { cause });
    } finally {
      process.umask(umask);
    }
    chmodSync(path, 0o600);
    this.#server.on('error', (error) => this.#options.logger.error({ error: error.message }, 'control socket failed'));
  }

  /** To the control process, if there is one; otherwise it is not told (it will get the table's state when it comes). */
  send(message: FromGateway): void {
    const control = this.#control;
    if (!control) return;
    if (control.writableLength > maxUnreadBytes) {
      this.#options.logger.warn({}, 'the control process does not read; cutting it off');
      control.destroy();
      return;
    }
    control.write(`${JSON.stringify(message)}\n`);
  }

  /** Others can no longer find the gateway; who is connected stays until the end. */
  hide(): void {
    this.#server.close();
    rmSync(this.#options.path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.hide();
    await Promise.all([...this.#peers].map((peer) => endOf(peer)));
  }

  #accept(socket: Socket): void {
    this.#peers.add(socket);
    socket.on('error', (error) => this.#options.logger.warn({ error: error.message }, 'control connection failed'));
    socket.on('close', () => {
      this.#peers.delete(socket);
      if (this.#control === socket) this.#control = undefined;
    });
    socket.write(
      `${JSON.stringify({ type: 'hello', version: wireVersion, pid: process.pid, address: this.#options.address } satisfies FromGateway)}\n`,
    );
    readLines(socket, (line) => this.#message(socket, readToGateway(line)));
  }

  #message(socket: Socket, message: ToGateway): void {
    if (message.type === 'hello') {
      if (message.version !== wireVersion) {
        // Only `quit` has the same meaning in every version, so the connection stays.
        this.#options.logger.warn({ version: message.version }, 'a control process of another version has connected');
      }
      return;
    }
    if (message.type === 'sync' && this.#control !== socket) {
      this.#control?.destroy();
      this.#control = socket;
    }
    if (message.type !== 'quit' && this.#control !== socket) {
      throw new EbbError('NotInControl', 400, `${message.type} was sent before sync`);
    }
    this.#options.onMessage(message);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // ENOENT, or ECONNREFUSED where a gateway was killed: nobody there.
    socket.once('error', () => resolve(false));
  });
}

function endOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) {
      resolve();
      return;
    }
    socket.once('close', () => resolve());
    socket.end(() => socket.destroy());
  });
}
