import { EventEmitter } from 'node:events';
import { connect, type Socket } from 'node:net';
import { systemClock, type Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { readLines } from './lines.ts';
import { readFromGateway } from './messages.ts';
import {
  wireVersion,
  type FromGateway,
  type InstanceEntry,
  type RevisionEntry,
  type RevisionId,
  type RevisionStats,
  type RouteEntry,
  type ToGateway,
} from './wire.ts';

/** The whole table, for `sync`. */
export interface GatewaySnapshot {
  routes: RouteEntry[];
  revisions: RevisionEntry[];
  instances: InstanceEntry[];
}

export interface GatewayLinkEvents {
  /** Greeted, and the table was sent. `pid` changes when the gateway was replaced. */
  connected: [{ pid: number; address: string }];
  disconnected: [];
  activate: [revision: RevisionId, queued: number];
  stats: [periodMs: number, revisions: RevisionStats[]];
  drained: [instance: string];
  'instance-unreachable': [instance: string, error: string];
}

const firstRetryMs = 20;
const maxRetryMs = 1_000;
/** Over this, deltas are thrown away and the whole table is sent when the socket is free again. */
const maxUnsentBytes = 4 * 1024 * 1024;

/**
 * The control process's connection to its gateway. Connects again whenever the connection is lost; on each connection sends
 * the whole table from `snapshot()`, then the deltas given to its methods. While there is no connection, deltas are not kept:
 * the snapshot has them.
 */
export class GatewayLink extends EventEmitter<GatewayLinkEvents> implements Disposable {
  readonly #path: string;
  readonly #snapshot: () => GatewaySnapshot;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #drains = new Map<string, Set<() => void>>();
  #socket: Socket | undefined;
  #synced = false;
  /** Deltas were left out: the table is to be sent whole. */
  #stale = false;
  #retryMs = firstRetryMs;
  #retry: Disposable | undefined;
  #closed = false;

  /** Begins to connect at once; `snapshot` is called each time that the whole table is sent. */
  constructor(options: { path: string; snapshot: () => GatewaySnapshot; logger: Logger; clock?: Clock }) {
    super();
    this.#path = options.path;
    this.#snapshot = options.snapshot;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#connect();
  }

  /** The gateway is there and has the table. */
  get connected(): boolean {
    return this.#synced;
  }

  setRoute(route: RouteEntry): void {
    this.#delta({ type: 'route', route });
  }

  removeRoute(host: string): void {
    this.#delta({ type: 'route-gone', host });
  }

  setRevision(revision: RevisionEntry): void {
    this.#delta({ type: 'revision', revision });
  }

  removeRevision(id: RevisionId): void {
    this.#delta({ type: 'revision-gone', id });
  }

  setInstance(instance: InstanceEntry): void {
    this.#delta({ type: 'instance', instance });
  }

  removeInstance(id: string): void {
    this.#delta({ type: 'instance-gone', id });
  }

  /** Sends the whole table again. */
  resync(): void {
    this.#stale = true;
    this.#sendStale();
  }

  /**
   * No new request goes to the instance; resolves when none is in flight on it. A gateway that was restarted knows of none in
   * flight. Rejects with the signal's reason.
   */
  drain(id: string, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(reasonOf(signal));
        return;
      }
      const waiting = this.#drains.get(id) ?? new Set();
      const settle = () => {
        signal?.removeEventListener('abort', aborted);
        resolve();
      };
      const aborted = () => {
        waiting.delete(settle);
        if (waiting.size === 0) this.#drains.delete(id);
        reject(signal ? reasonOf(signal) : new Error('aborted'));
      };
      signal?.addEventListener('abort', aborted, { once: true });
      waiting.add(settle);
      this.#drains.set(id, waiting);
      if (this.#synced && !this.#stale) this.#send({ type: 'drain', id });
    });
  }

  /** Ends the connection; the gateway goes on with the table that it has. Whoever waits for a drain waits no longer. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#synced = false;
    this.#retry?.[Symbol.dispose]();
    this.#socket?.destroy();
    this.removeAllListeners();
    // Nobody will say any more that it is drained.
    for (const waiting of this.#drains.values()) for (const settle of waiting) settle();
    this.#drains.clear();
  }

  #connect(): void {
    const socket = connect({ path: this.#path });
    this.#socket = socket;
    socket.on('error', (error) => this.#logger.debug({ error: messageOf(error) }, 'no connection to the gateway'));
    socket.on('close', () => this.#lost());
    socket.on('drain', () => this.#sendStale());
    readLines(socket, (line) => this.#message(readFromGateway(line)));
    socket.on('connect', () => this.#send({ type: 'hello', version: wireVersion }));
  }

  #lost(): void {
    const was = this.#synced;
    this.#synced = false;
    this.#socket = undefined;
    if (this.#closed) return;
    if (was) {
      this.#retryMs = firstRetryMs;
      this.emit('disconnected');
    }
    this.#retry = this.#clock.after(this.#retryMs, () => this.#connect());
    this.#retryMs = Math.min(maxRetryMs, this.#retryMs * 2);
  }

  #message(message: FromGateway): void {
    switch (message.type) {
      case 'hello':
        if (message.version !== wireVersion) {
          throw new EbbError('WireVersion', 500, `the gateway speaks version ${message.version}, not ${wireVersion}`);
        }
        this.#synced = true;
        this.#retryMs = firstRetryMs;
        this.resync();
        this.emit('connected', { pid: message.pid, address: message.address });
        return;
      case 'activate':
        this.emit('activate', message.revision, message.queued);
        return;
      case 'stats':
        this.emit('stats', message.periodMs, message.revisions);
        return;
      case 'drained': {
        const waiting = this.#drains.get(message.id);
        this.#drains.delete(message.id);
        for (const settle of waiting ?? []) settle();
        this.emit('drained', message.id);
        return;
      }
      case 'instance-unreachable':
        this.emit('instance-unreachable', message.id, message.error);
        return;
    }
  }

  #delta(message: ToGateway): void {
    if (!this.#synced || this.#stale) return;
    if ((this.#socket?.writableLength ?? 0) > maxUnsentBytes) this.#stale = true;
    else this.#send(message);
  }

  #sendStale(): void {
    if (!this.#synced || !this.#stale || (this.#socket?.writableLength ?? 0) > maxUnsentBytes) return;
    this.#stale = false;
    this.#send({ type: 'sync', ...this.#snapshot() });
    for (const id of this.#drains.keys()) this.#send({ type: 'drain', id });
  }

  #send(message: ToGateway): void {
    this.#socket?.write(`${JSON.stringify(message)}\n`);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
}
