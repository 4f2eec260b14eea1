import type { ServerHttp2Session } from 'node:http2';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Clock } from '../platform/clock.ts';
import { EbbError, errnoOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { AccessLog } from './access-log.ts';
import { Budget } from './budget.ts';
import { ClientConnection, type ClientSocket, type Destination } from './client-connection.ts';
import { defaultLimits, type GatewayContext, type GatewayLimits } from './context.ts';
import { FieldNames, requestRoles, responseRoles } from './http1/fields.ts';
import type { RequestHead } from './http1/request-head.ts';
import { serveHttp2 } from './http2-client.ts';
import type { Instance } from './instance.ts';
import { TurnEnd } from './outbox.ts';
import { pickTarget, RouteTable, type TableMessage } from './table.ts';
import { traceOf, TraceIds } from './trace.ts';
import type { FromGateway } from './wire.ts';

/** Answered on every host that is no service's. */
export const healthPath = '/.well-known/ebb/health';
/** How late a timeout may be noticed. One sweep over all connections is far cheaper than a timer for each request. */
const sweepMs = 100;
const statsMs = 1000;
const readBytes = 64 * 1024;

export interface GatewayOptions {
  clock: Clock;
  logger: Logger;
  accessLog?: AccessLog | undefined;
  /** In [0, 1), for traffic splits. */
  random?: () => number;
  limits?: Partial<GatewayLimits>;
  /** Hears what the control process should know. */
  report: (message: FromGateway) => void;
}

/**
 * The data plane: takes requests, finds the revision by host and traffic split, waits for an instance where there is none, and
 * streams both ways. Knows only what {@link Gateway.apply} told it.
 */
export class Gateway implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #report: (message: FromGateway) => void;
  readonly #random: () => number;
  readonly #limits: GatewayLimits;
  readonly #table: RouteTable;
  readonly #context: GatewayContext & { closing: boolean };
  readonly #requestNames = new FieldNames(requestRoles);
  readonly #connections = new Set<ClientConnection>();
  /** Of clients that speak HTTP/2; each of their requests is among the connections. */
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #timers: Disposable[] = [];
  readonly #server: Server;
  #statsAt: number;
  #whenEmpty: (() => void) | undefined;

  constructor(options: GatewayOptions) {
    const { clock } = options;
    this.#clock = clock;
    this.#logger = options.logger;
    this.#report = options.report;
    this.#random = options.random ?? Math.random;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#table = new RouteTable(
      {
        activate: (revision) =>
          this.#report({ type: 'activate', revision: revision.entry.id, queued: revision.queued }),
      },
      { maxQueued: this.#limits.maxQueued },
    );
    const ids = new TraceIds();
    this.#context = {
      limits: this.#limits,
      responseNames: new FieldNames(responseRoles),
      readBuffer: Buffer.allocUnsafeSlow(readBytes),
      turnEnd: new TurnEnd(),
      heldBodies: new Budget(this.#limits.maxHeldBytes),
      closing: false,
      now: () => clock.monotonic(),
      after: (ms, fn) => void clock.after(ms, fn),
      trace: (traceparent, requestId) => traceOf(ids, traceparent, requestId),
      log: (record) => options.accessLog?.add(record),
      unreachable: (instance, error) => {
        options.logger.warn({ instance: instance.id, error }, 'instance unreachable');
        this.#report({ type: 'instance-unreachable', id: instance.id, error });
      },
      settle: (instance) => this.#settle(instance),
    };
    // allowHalfOpen: who ends what, and when, is decided by ClientConnection.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (s) => this.#accept(s));
    this.#server.maxConnections = this.#limits.maxConnections;
    this.#server.on('drop', () =>
      this.#logger.warn({ maxConnections: this.#limits.maxConnections }, 'connection dropped'),
    );
    this.#statsAt = clock.monotonic();
    this.#timers.push(
      clock.every(sweepMs, () => this.#sweep()),
      clock.every(statsMs, () => this.#tick()),
    );
  }

  /** Begins to listen; the address that it got. Throws `PortTaken`, `ListenFailed`. */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      const failed = (error: Error) => reject(listenError(error, host, port));
      this.#server.once('error', failed);
      this.#server.listen({ host, port, backlog: 4096 }, () => {
        this.#server.off('error', failed);
        this.#server.on('error', (error) => this.#logger.error({ error: error.message }, 'listener failed'));
        // A TCP server's address is an object.
        resolve(this.#server.address() as AddressInfo);
      });
    });
  }

  /** Changes the table. */
  apply(message: TableMessage): void {
    this.#table.apply(message, this.#clock.monotonic());
  }

  /** Reports `drained` when nothing is in flight on the instance: at once if it is unknown. No new request goes there. */
  drain(id: string): void {
    const instance = this.#table.instance(id);
    if (!instance || instance.inFlight === 0) {
      this.#report({ type: 'drained', id });
      return;
    }
    instance.drainAsked = true;
    instance.entry = { ...instance.entry, state: 'draining' };
    instance.closeIdle();
  }

  /** Says again what a control process that has just come must know. */
  resume(): void {
    this.#activateWaiting();
  }

  /** Connections of clients that are open now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Bytes of request bodies that are kept now, because they wait or may have to be sent again. */
  get heldBytes(): number {
    return this.#context.heldBodies.taken;
  }

  /** Stops listening; then what is in flight has `graceMs` to end, and is cut. */
  async close(graceMs: number): Promise<void> {
    this.#context.closing = true;
    this.#server.close();
    for (const connection of this.#connections) connection.close();
    for (const session of this.#sessions) session.close();
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(graceMs, resolve);
        this.#whenEmpty = () => {
          timer[Symbol.dispose]();
          resolve();
        };
      });
    }
    for (const connection of this.#connections) connection.destroy();
    for (const session of this.#sessions) session.destroy();
    for (const timer of this.#timers.splice(0)) timer[Symbol.dispose]();
    for (const instance of this.#table.instances()) instance.closeIdle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  #accept(socket: Socket): void {
    this.#connect(socket, (received) => {
      const session = serveHttp2(socket, received, {
        idleMs: this.#limits.keepAliveMs,
        onRequest: (request) => this.#connect(request),
      });
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      if (this.#context.closing) session.close();
    });
  }

  #connect(socket: ClientSocket, onHttp2?: (received: Buffer) => void): void {
    this.#connections.add(
      new ClientConnection(socket, {
        context: this.#context,
        names: this.#requestNames,
        destination: (head) => this.#destination(head),
        onClose: (connection) => {
          this.#connections.delete(connection);
          if (this.#connections.size === 0) this.#whenEmpty?.();
        },
        ...(onHttp2 ? { onHttp2 } : {}),
      }),
    );
  }

  #destination(head: RequestHead): Destination {
    const route = this.#table.route(head.host);
    const probe = head.fields.probe !== '' || head.fields.userAgent.startsWith('kube-probe/');
    if (!route) {
      if (head.target === healthPath) return this.#alive('');
      const name = head.host === '' ? 'an empty host name' : `host ${head.host}`;
      return { answer: { status: 404, reason: 'UnknownHost', message: `no service has ${name}` } };
    }
    // Probes of the network end here (Knative's runtime contract): the app never sees them, and they wake nobody.
    if (probe) return this.#alive(head.fields.probeHash);
    const id = pickTarget(route, this.#random);
    const revision = id === undefined ? undefined : this.#table.revision(id);
    if (!revision) {
      const message = `route ${route.namespace}/${route.route} has no revision to send to`;
      return { answer: { status: 503, reason: 'UnknownRevision', message, retryAfter: 1 } };
    }
    return { revision };
  }

  #alive(hash: string): Destination {
    if (this.#context.closing) {
      return { answer: { status: 503, reason: 'ShuttingDown', message: 'the gateway is shutting down' } };
    }
    const echo = hash === '' ? '' : `K-Network-Hash: ${hash}\r\n`;
    return { status: 200, text: 'ok\n', fields: `Content-Type: text/plain\r\n${echo}` };
  }

  #settle(instance: Instance): void {
    if (instance.inFlight > 0) return;
    if (instance.drainAsked) {
      instance.drainAsked = false;
      this.#report({ type: 'drained', id: instance.id });
    }
    this.#table.settle(instance);
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const connection of this.#connections) connection.sweep(now);
  }

  /** Once a second: statistics, activations that still wait to be heard, connections past their time. */
  #tick(): void {
    const now = this.#clock.monotonic();
    const periodMs = now - this.#statsAt;
    this.#statsAt = now;
    const revisions = [];
    for (const revision of this.#table.revisions()) {
      const stats = revision.stats(now, periodMs);
      if (stats) revisions.push(stats);
    }
    if (revisions.length > 0) this.#report({ type: 'stats', periodMs, revisions });
    this.#activateWaiting();
    for (const instance of this.#table.instances()) instance.sweepIdle(now);
  }

  #activateWaiting(): void {
    const now = this.#clock.monotonic();
    for (const revision of this.#table.revisions()) {
      if (revision.queued > 0 && !revision.hasUsable(now)) {
        this.#report({ type: 'activate', revision: revision.entry.id, queued: revision.queued });
      }
    }
  }
}

function listenError(cause: Error, host: string, port: number): EbbError {
  if (errnoOf(cause) === 'EADDRINUSE') {
    return new EbbError('PortTaken', 500, `${host}:${port} is in use by another program; choose another address`, {
      cause,
    });
  }
  return new EbbError('ListenFailed', 500, `cannot listen on ${host}:${port}: ${cause.message}`, { cause });
}
