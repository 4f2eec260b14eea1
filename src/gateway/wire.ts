/**
 * What the control process and the gateway say to each other: newline-delimited JSON over a Unix socket on which the
 * gateway listens. The gateway serves from the last table it was given, whether or not a control process is connected.
 *
 * On connecting, each side sends `hello`; then the control process sends one `sync` (the whole table; what is not in it
 * is forgotten, but requests in flight on forgotten instances end in peace) and deltas from then on.
 */
export const wireVersion = 1;

/** One host name and where its requests go. */
export interface RouteEntry {
  /** Lower case, no port: `hello.default.localhost`. */
  host: string;
  namespace: string;
  /** Name of the Route, for logs and metrics. */
  route: string;
  /** Percentages sum to 100. A tag's host has one target of 100. */
  targets: { revision: RevisionId; percent: number }[];
}

/** `namespace/revision`. */
export type RevisionId = string;

export interface RevisionEntry {
  id: RevisionId;
  service: string;
  configuration: string;
  protocol: 'http1' | 'h2c';
  /** Requests at a time on one instance; 0 is no limit. */
  containerConcurrency: number;
  /** Whole request, milliseconds. */
  timeoutMs: number;
  /** To the response's first byte; 0 is no separate limit. */
  responseStartTimeoutMs: number;
  /** Without a byte written to the client after the first; 0 is no limit. */
  idleTimeoutMs: number;
  /** Set when instances cannot start: waiting requests get 503 with this sentence at once. */
  failure?: string | undefined;
}

export interface InstanceEntry {
  id: string;
  revision: RevisionId;
  host: string;
  port: number;
  /** Only `ready` gets new requests. */
  state: 'ready' | 'draining';
}

export type ToGateway =
  | { type: 'hello'; version: number }
  | { type: 'sync'; routes: RouteEntry[]; revisions: RevisionEntry[]; instances: InstanceEntry[] }
  | { type: 'route'; route: RouteEntry }
  | { type: 'route-gone'; host: string }
  | { type: 'revision'; revision: RevisionEntry }
  | { type: 'revision-gone'; id: RevisionId }
  | { type: 'instance'; instance: InstanceEntry }
  | { type: 'instance-gone'; id: string }
  /** Answered with `drained` when nothing is in flight on the instance (at once if it is unknown). */
  | { type: 'drain'; id: string }
  /** End: stop listening, finish what is in flight (bounded), exit 0. */
  | { type: 'quit' };

export interface RevisionStats {
  revision: RevisionId;
  /** Time-weighted average of requests in flight plus queued, over the period. */
  concurrency: number;
  /** Requests that ended in the period, refused ones among them. */
  requests: number;
  /** Waiting right now. */
  queued: number;
  /** In flight on instances right now. */
  inFlight: number;
}

export type FromGateway =
  | { type: 'hello'; version: number; pid: number; address: string }
  /** Requests wait and no instance is ready. Sent when the queue becomes non-empty, and again each second while so. */
  | { type: 'activate'; revision: RevisionId; queued: number }
  /** Every second, for revisions with anything in flight, queued or ended in the period; one last all-zero entry after. */
  | { type: 'stats'; periodMs: number; revisions: RevisionStats[] }
  | { type: 'drained'; id: string }
  /** A connect to a ready instance failed; the gateway has stopped choosing it for a moment. */
  | { type: 'instance-unreachable'; id: string; error: string };
