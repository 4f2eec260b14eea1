import type { InstanceEntry } from './wire.ts';
import type { InstanceConnection } from './instance-connection.ts';

/** Idle connections kept for one instance. */
const maxIdle = 256;
/** Connects under way to one instance: a cold start's crowd must not overflow the app's listen backlog (511 in Node). */
export const maxConnecting = 128;
const firstBackoffMs = 200;
const maxBackoffMs = 5_000;

/** One instance as the gateway sees it: where it is, how many requests it has, its idle connections. */
export class Instance {
  readonly id: string;
  entry: InstanceEntry;
  inFlight = 0;
  connecting = 0;
  /** No longer in the table; what is in flight still ends in peace. */
  gone = false;
  /** Someone waits to hear that nothing is in flight. */
  drainAsked = false;
  /** Monotonic milliseconds before which no request is sent, after a failed connect. */
  #downUntil = 0;
  #failures = 0;
  readonly #idle: InstanceConnection[] = [];

  constructor(entry: InstanceEntry) {
    this.id = entry.id;
    this.entry = entry;
  }

  /** May take another request at `now`; `limit` is the revision's containerConcurrency, 0 for none. */
  available(now: number, limit: number): boolean {
    return this.usable(now) && (limit === 0 || this.inFlight < limit) && this.connecting < maxConnecting;
  }

  /** Ready, and not known to refuse connections. */
  usable(now: number): boolean {
    return this.entry.state === 'ready' && !this.gone && now >= this.#downUntil;
  }

  /** Notes a failed connect; returns for how many milliseconds the instance is left alone. */
  markDown(now: number): number {
    const backoff = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(this.#failures, 10));
    if (now >= this.#downUntil) this.#failures++;
    this.#downUntil = now + backoff;
    return backoff;
  }

  markUp(): void {
    this.#failures = 0;
    this.#downUntil = 0;
  }

  /**
   * An idle connection, the last used first. With `careful`, only one that the instance will hardly have begun to close: a
   * request that can't be repeated must not meet the end of a keep-alive.
   */
  takeIdle(now: number, careful: boolean): InstanceConnection | undefined {
    const connection = this.#idle[this.#idle.length - 1];
    if (!connection || (careful && !connection.surelyOpen(now))) return undefined;
    return this.#idle.pop();
  }

  keepIdle(connection: InstanceConnection): void {
    if (this.gone || this.entry.state !== 'ready' || this.#idle.length >= maxIdle) connection.destroy();
    else this.#idle.push(connection);
  }

  forgetIdle(connection: InstanceConnection): void {
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  /** Closes idle connections that are past their time. */
  sweepIdle(now: number): void {
    for (const connection of this.#idle.filter((c) => c.expired(now))) connection.destroy();
  }

  closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }
}
