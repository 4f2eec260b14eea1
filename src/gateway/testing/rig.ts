/** What the gateway's tests share: a gateway in this process, real backends, and a client that sees every byte. */
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { systemClock, type Clock } from '../../platform/clock.ts';
import { silentLogger } from '../../platform/logger.ts';
import type { AccessLog } from '../access-log.ts';
import type { GatewayLimits } from '../context.ts';
import { Gateway } from '../gateway.ts';
import type { FromGateway, InstanceEntry, RevisionEntry } from '../wire.ts';

export const host = 'hello.default.localhost';
export const revisionId = 'default/hello-00001';

export function revisionEntry(change: Partial<RevisionEntry> = {}): RevisionEntry {
  return {
    id: revisionId,
    service: 'hello',
    configuration: 'hello',
    protocol: 'http1',
    containerConcurrency: 0,
    timeoutMs: 300_000,
    responseStartTimeoutMs: 0,
    idleTimeoutMs: 0,
    ...change,
  };
}

export function instanceEntry(port: number, id = 'i1', change: Partial<InstanceEntry> = {}): InstanceEntry {
  return { id, revision: revisionId, host: '127.0.0.1', port, state: 'ready', ...change };
}

export class Rig implements AsyncDisposable {
  readonly gateway: Gateway;
  readonly reports: FromGateway[] = [];
  port = 0;
  readonly #listeners = new Set<() => void>();
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(options: RigOptions) {
    this.gateway = new Gateway({
      clock: options.clock ?? systemClock,
      logger: silentLogger,
      accessLog: options.accessLog,
      ...(options.limits ? { limits: options.limits } : {}),
      ...(options.random ? { random: options.random } : {}),
      report: (message) => {
        this.reports.push(message);
        for (const listener of this.#listeners) listener();
      },
    });
  }

  /** A gateway with one route to one revision. */
  static async start(options: RigOptions = {}): Promise<Rig> {
    const rig = new Rig(options);
    rig.port = (await rig.gateway.listen('127.0.0.1', 0)).port;
    rig.gateway.apply({
      type: 'sync',
      routes: [{ host, namespace: 'default', route: 'hello', targets: [{ revision: revisionId, percent: 100 }] }],
      revisions: [revisionEntry(options.revision)],
      instances: [],
    });
    return rig;
  }

  /** An HTTP server; its port. */
  async backend(handler: RequestListener, configure?: (server: Server) => void): Promise<number> {
    const server = createHttpServer(handler);
    configure?.(server);
    server.listen(0, '127.0.0.1', 4096);
    await once(server, 'listening');
    this.#ends.push(async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return (server.address() as AddressInfo).port;
  }

  /** A server of bytes; its port. */
  async rawBackend(onConnection: (socket: Socket, n: number) => void): Promise<number> {
    let n = 0;
    const sockets = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      onConnection(socket, n++);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.#ends.push(async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    });
    return (server.address() as AddressInfo).port;
  }

  addInstance(port: number, id = 'i1', change: Partial<InstanceEntry> = {}): void {
    this.gateway.apply({ type: 'instance', instance: instanceEntry(port, id, change) });
  }

  /** The first report that `match` accepts, now or later. */
  report<T extends FromGateway['type']>(
    type: T,
    match: (message: Extract<FromGateway, { type: T }>) => boolean = () => true,
  ): Promise<Extract<FromGateway, { type: T }>> {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.reports.find(
          (m): m is Extract<FromGateway, { type: T }> =>
            m.type === type && match(m as Extract<FromGateway, { type: T }>),
        );
        if (!found) return;
        this.#listeners.delete(look);
        resolve(found);
      };
      this.#listeners.add(look);
      look();
    });
  }

  client(): Promise<RawClient> {
    return RawClient.connect(this.port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway[Symbol.asyncDispose]();
    for (const end of this.#ends) await end();
  }
}

export interface RigOptions {
  clock?: Clock;
  accessLog?: AccessLog;
  limits?: Partial<GatewayLimits>;
  random?: () => number;
  revision?: Partial<RevisionEntry>;
}

/** A client that writes what it is told and remembers what it got. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  received = '';
  ended = false;
  closed = false;
  readonly #waiting = new Set<() => void>();

  private constructor(socket: Socket) {
    this.socket = socket;
    const wake = () => {
      for (const look of this.#waiting) look();
    };
    socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
      wake();
    });
    socket.on('end', () => {
      this.ended = true;
      wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      wake();
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  send(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /** Resolves once `done` holds; rejects if the connection closes before. */
  until(done: (received: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (done(this.received)) {
          this.#waiting.delete(look);
          resolve(this.received);
        } else if (this.closed) {
          this.#waiting.delete(look);
          reject(new Error(`closed after: ${this.received}`));
        }
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** Everything until the gateway ends the connection. */
  end(): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        if (!this.ended && !this.closed) return;
        this.#waiting.delete(look);
        resolve(this.received);
      };
      this.#waiting.add(look);
      look();
    });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

export function get(path = '/', more = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
}

/** A promise and its resolver. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { promise, open: resolve };
}
