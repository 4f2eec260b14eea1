import type { Reason } from './answer.ts';
import type { Budget } from './budget.ts';
import type { FieldNames } from './http1/fields.ts';
import type { Instance } from './instance.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { TurnEnd } from './outbox.ts';

/** The bounds that keep one client, or all of them together, from using the gateway up. Milliseconds and bytes. */
export interface GatewayLimits {
  /** Client connections; more are closed at once. */
  maxConnections: number;
  /** Requests waiting for one revision. */
  maxQueued: number;
  maxHeadBytes: number;
  /** Bodies of all requests together that are kept because they wait, or may have to be sent again. */
  maxHeldBytes: number;
  /** From the first byte of a head (or the connect) to its end. */
  headMs: number;
  /** Between requests on a keep-alive connection. */
  keepAliveMs: number;
  /** Connecting to an instance. */
  connectMs: number;
  /** After an answer that ends the connection, for the client to read it. */
  lingerMs: number;
}

export const defaultLimits: GatewayLimits = {
  maxConnections: 32_768,
  maxQueued: 10_000,
  maxHeadBytes: 32 * 1024,
  maxHeldBytes: 64 * 1024 * 1024,
  headMs: 15_000,
  keepAliveMs: 75_000,
  connectMs: 3_000,
  lingerMs: 2_000,
};

/** One line of the access log, before it is text. Times in milliseconds. */
export interface AccessRecord {
  /** Without a head if that was malformed, too large or too slow. */
  exchange: { head: RequestHead | undefined; requestId: string };
  address: string;
  revision: string | undefined;
  instance: string | undefined;
  status: number;
  /** Why the gateway answered or cut by itself. */
  reason: Reason | 'ClientGone' | undefined;
  cold: boolean;
  queueMs: number;
  connectMs: number;
  /** From the request's head to the first byte of the response's; undefined if there was none from an instance. */
  firstByteMs: number | undefined;
  totalMs: number;
  /** Body bytes, with chunk framing. */
  bytesIn: number;
  bytesOut: number;
}

/** What connections and exchanges share. */
export interface GatewayContext {
  readonly limits: GatewayLimits;
  readonly responseNames: FieldNames;
  /** What instances send is read into this, one after the other: what must stay is copied. */
  readonly readBuffer: Buffer;
  readonly turnEnd: TurnEnd;
  /** Of {@link GatewayLimits.maxHeldBytes}. */
  readonly heldBodies: Budget;
  /** The gateway is ending: connections are not kept. */
  readonly closing: boolean;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  after(ms: number, fn: () => void): void;
  trace(traceparent: string, requestId: string): { traceparent: string; requestId: string };
  log(record: AccessRecord): void;
  /** A connect failed. */
  unreachable(instance: Instance, error: string): void;
  /** A place on the instance was given back. */
  settle(instance: Instance): void;
}
