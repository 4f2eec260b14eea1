import type { Answer, Reason } from './answer.ts';
import { ChunkedReader, LengthReader, noBodyReader, type BodyReader } from './http1/body.ts';
import type { RequestHead } from './http1/request-head.ts';
import type { ResponseHead } from './http1/response-head.ts';
import {
  clientFraming,
  requestHeadText,
  responseHeadText,
  type ClientFraming,
  type Origin,
} from './http1/write-head.ts';
import { InstanceConnection, type ConnectionUser, type LostReason } from './instance-connection.ts';
import type { Instance } from './instance.ts';
import { Waiter, type Revision } from './revision.ts';
import type { GatewayContext } from './context.ts';

/** What an exchange needs of the client's connection. */
export interface ExchangeClient {
  readonly origin: Origin;
  /** False: the client reads slowly; `clientWritable` follows. */
  write(data: Buffer): boolean;
  /** Latin-1. */
  writeText(text: string): boolean;
  readonly writeBlocked: boolean;
  /** Reading from the client goes on or stops, as {@link Exchange.blocksReading} now says. */
  readingChanged(): void;
  /** The gateway's own answer instead of a response. */
  answer(exchange: Exchange, answer: Answer): void;
  /** The exchange is over. With `keep` false the connection is ended after what was written; with 'cut', at once. */
  over(exchange: Exchange, keep: boolean | 'cut'): void;
  endTunnel(): void;
}

/** A request's body is kept for repeating while it is no longer than this, and read ahead this far while it waits. */
const maxReplayBytes = 16 * 1024;
/** What reading ahead may add: the last read begins below that limit and is 64 KB at most. */
const readAheadBytes = maxReplayBytes + 64 * 1024;
const maxConnectAttempts = 5;
const maxSendAttempts = 3;
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

type Phase = 'new' | 'queued' | 'connecting' | 'sent' | 'responding' | 'tunnel' | 'over';

/** One request and its response, from the client's head to the access log line. */
export class Exchange extends Waiter implements ConnectionUser {
  readonly head: RequestHead;
  readonly method: string;
  readonly requestId: string;
  readonly decodeChunked: boolean;
  readonly #traceparent: string;
  readonly #client: ExchangeClient;
  readonly #context: GatewayContext;
  readonly #revision: Revision;
  readonly #startedAt: number;
  readonly #requestReader: BodyReader;
  readonly #slices: Buffer[] = [];

  #phase: Phase = 'new';
  #instance: Instance | undefined;
  #connection: InstanceConnection | undefined;
  #sends = 0;
  #connects = 0;
  /** The request's body so far, while the request may have to be sent (again). */
  #replay: Buffer[] | undefined = [];
  #replayBytes = 0;
  /** Taken from the budget of held bodies. */
  #heldBytes = 0;
  #mayReadAhead = false;
  #instanceBlocked = false;
  #framing: ClientFraming = 'none';
  #responseReader: BodyReader | undefined;
  #keepClient = true;
  #tunnelEnds = 0;

  #queuedMs = 0;
  #connectMs = 0;
  /** Monotonic milliseconds of the moment at which an instance was found. */
  #assignedAt = 0;
  #firstByteAt = 0;
  #lastWriteAt = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #status = 0;

  constructor(client: ExchangeClient, context: GatewayContext, head: RequestHead, revision: Revision, now: number) {
    super();
    this.head = head;
    this.method = head.method;
    this.decodeChunked = head.minor === 0;
    this.#client = client;
    this.#context = context;
    this.#revision = revision;
    this.#startedAt = now;
    const trace = context.trace(head.fields.traceparent, head.fields.requestId);
    this.requestId = trace.requestId;
    this.#traceparent = trace.traceparent;
    this.#requestReader = requestReaderOf(head);
  }

  /** The request was received whole. */
  get requestDone(): boolean {
    return this.#requestReader.done;
  }

  get isTunnel(): boolean {
    return this.#phase === 'tunnel';
  }

  /** No more bytes are wanted from the client for now. */
  get blocksReading(): boolean {
    if (this.#instanceBlocked) return true;
    return !this.requestDone && !this.#hasSent() && (!this.#mayReadAhead || this.#replayBytes >= maxReplayBytes);
  }

  start(): void {
    this.#phase = 'queued';
    this.#revision.acquire(this, this.#startedAt);
    if (!this.#waits() || (this.requestDone && this.#replayBytes === 0)) return;
    // What of its body has come is in memory already: without room for that it can't stay.
    if (!this.#hold(this.#replayBytes)) {
      const message = 'the requests that wait hold too much data';
      this.#answer({ status: 503, reason: 'QueueFull', message, retryAfter: 1 });
      return;
    }
    this.#mayReadAhead = !this.requestDone && this.#hold(readAheadBytes);
  }

  // ---- from the client ----

  /** Body bytes. Returns the index of the first byte that is not of this request, or -1 if its framing is broken. */
  requestData(chunk: Buffer, from: number): number {
    const slices = this.#slices;
    slices.length = 0;
    const next = this.#requestReader.feed(chunk, from, slices);
    if (next < 0) return -1;
    for (const slice of slices) this.#forward(slice);
    slices.length = 0;
    return next;
  }

  tunnelFromClient(chunk: Buffer): void {
    this.#lastWriteAt = this.#context.now();
    this.#bytesIn += chunk.length;
    if (this.#connection && !this.#connection.write(chunk)) {
      this.#instanceBlocked = true;
      this.#client.readingChanged();
    }
  }

  clientEnded(): void {
    this.#connection?.endTunnel();
    this.#tunnelEnded();
  }

  /** The client took what was written. */
  clientWritable(): void {
    this.#connection?.resume();
  }

  /** The client went away: so does the request, from the queue or from the instance. */
  clientGone(): void {
    if (this.#phase === 'over') return;
    if (this.#phase === 'tunnel') this.#finish(this.#status, undefined, 'cut');
    else this.#finish(499, 'ClientGone', 'cut');
  }

  /** The request turned out malformed in its body. */
  badRequest(message: string): void {
    if (this.#phase === 'over') return;
    if (this.#phase === 'responding') this.#finish(this.#status, 'BadRequest', 'cut');
    else this.#answer({ status: 400, reason: 'BadRequest', message });
  }

  /** Ends what took too long. */
  sweep(now: number): void {
    const { entry } = this.#revision;
    switch (this.#phase) {
      case 'queued':
        if (now - this.#startedAt >= entry.timeoutMs) {
          this.#answer({
            status: 503,
            reason: 'QueueTimeout',
            message: `no instance of ${entry.id} was ready within ${entry.timeoutMs / 1000} s`,
            retryAfter: 5,
          });
        }
        return;
      case 'connecting':
        if (now - this.#assignedAt >= this.#context.limits.connectMs) {
          const connection = this.#connection;
          this.#connection = undefined;
          connection?.destroy();
          this.lost('connect', `no answer within ${this.#context.limits.connectMs} ms`);
        }
        return;
      case 'sent': {
        const waited = now - this.#assignedAt;
        if (
          waited >= entry.timeoutMs ||
          (entry.responseStartTimeoutMs > 0 && waited >= entry.responseStartTimeoutMs) ||
          (entry.idleTimeoutMs > 0 && waited >= entry.idleTimeoutMs)
        ) {
          this.#answer({ status: 504, reason: 'RequestTimeout', message: 'request timeout' });
        }
        return;
      }
      case 'responding':
      case 'tunnel': {
        // Once it has begun, a response may go on beyond the timeout for as long as bytes flow.
        const silent = now - this.#lastWriteAt;
        const limit = entry.idleTimeoutMs > 0 ? Math.min(entry.idleTimeoutMs, entry.timeoutMs) : entry.timeoutMs;
        if (silent >= limit) this.#endEarly();
        return;
      }
      case 'new':
      case 'over':
        return;
    }
  }

  // ---- from the revision ----

  assigned(instance: Instance): void {
    const now = this.#context.now();
    this.#instance = instance;
    if (this.#assignedAt === 0) this.#queuedMs = now - this.#startedAt;
    this.#assignedAt = now;
    const connection = instance.takeIdle(now, !this.#repeatable());
    if (connection) {
      connection.use(this);
      this.#connection = connection;
      this.#send(connection);
      return;
    }
    this.#phase = 'connecting';
    this.#connects++;
    this.#connection = new InstanceConnection(instance, this, {
      protocol: this.#revision.entry.protocol,
      names: this.#context.responseNames,
      now: this.#context.now,
      readBuffer: this.#context.readBuffer,
      turnEnd: this.#context.turnEnd,
      onConnectSettled: () => this.#revision.pump(this.#context.now()),
    });
  }

  refused(answer: Answer): void {
    this.#answer(answer);
  }

  // ---- from the instance's connection ----

  connected(): void {
    this.#connectMs = this.#context.now() - this.#assignedAt;
    if (this.#connection) this.#send(this.#connection);
  }

  informational(head: ResponseHead): void {
    if (this.head.minor === 0 || (head.status === 100 && !this.head.expectContinue)) return;
    this.#client.writeText(responseHeadText(head, 'none', 'default', ''));
  }

  responseHead(head: ResponseHead, reader: BodyReader): void {
    this.#begin(head);
    this.#responseReader = reader;
    const framing = clientFraming(head, this.head.minor);
    this.#framing = framing;
    this.#keepClient = this.head.keepAlive && framing !== 'close' && !this.#context.closing;
    const connection = this.#keepClient ? (this.head.minor === 0 ? 'keep-alive' : 'default') : 'close';
    this.#client.writeText(responseHeadText(head, framing, connection, this.#timing()));
  }

  responseData(slice: Buffer): void {
    this.#bytesOut += slice.length;
    if (this.#framing === 'chunk') this.#client.writeText(`${slice.length.toString(16)}\r\n`);
    let more = this.#client.write(slice);
    if (this.#framing === 'chunk') more = this.#client.writeText('\r\n');
    this.#lastWriteAt = this.#context.now();
    if (!more) this.#connection?.pause();
  }

  responseEnd(reusable: boolean): void {
    if (this.#framing === 'chunk') this.#client.writeText('0\r\n\r\n');
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection) {
      // A response before the end of the request: what is left of the request has nowhere to go.
      if (reusable && this.requestDone) connection.toIdle();
      else connection.destroy();
    }
    this.#finish(this.#status, undefined, this.#keepClient && this.requestDone);
  }

  switched(head: ResponseHead, rest: Buffer | undefined): void {
    if (this.head.upgrade === undefined) {
      this.#abandonConnection();
      this.lost('bad-response', 'it switched protocols without being asked');
      return;
    }
    this.#begin(head);
    this.#phase = 'tunnel';
    this.#client.writeText(
      `HTTP/1.1 101 ${head.reason === '' ? 'Switching Protocols' : head.reason}\r\n${head.fields.passed}` +
        `Connection: Upgrade\r\nUpgrade: ${head.fields.upgrade === '' ? this.head.upgrade : head.fields.upgrade}\r\n\r\n`,
    );
    if (rest) this.tunnelData(rest);
    // What the client sent ahead of the 101 is for the tunnel.
    this.#client.readingChanged();
  }

  tunnelData(chunk: Buffer): void {
    this.#lastWriteAt = this.#context.now();
    this.#bytesOut += chunk.length;
    if (!this.#client.write(chunk)) this.#connection?.pause();
  }

  tunnelEnd(): void {
    this.#client.endTunnel();
    this.#tunnelEnded();
  }

  writable(): void {
    if (!this.#instanceBlocked) return;
    this.#instanceBlocked = false;
    this.#client.readingChanged();
  }

  lost(reason: LostReason, detail: string): void {
    this.#connection = undefined;
    this.#instanceBlocked = false;
    const id = this.#instance?.id ?? '';
    if (this.#phase === 'tunnel') {
      this.#finish(this.#status, undefined, 'cut');
      return;
    }
    if (this.#phase === 'responding') {
      // The head is out: cutting the connection is the one way left to say that this is not the whole answer.
      this.#finish(this.#status, reason === 'bad-response' ? 'BadResponse' : 'InstanceLost', 'cut');
      return;
    }
    if (reason === 'connect') {
      this.#unreachable(detail);
      return;
    }
    if (reason === 'closed' && this.#repeatable() && this.#sends < maxSendAttempts && this.#spendRetry()) {
      this.#retry();
      return;
    }
    const message =
      reason === 'bad-response'
        ? `instance ${id} sent a response that is not valid HTTP: ${detail}`
        : `instance ${id} closed the connection before it answered`;
    this.#answer({ status: 502, reason: reason === 'bad-response' ? 'BadResponse' : 'InstanceLost', message });
  }

  // ---- inside ----

  #waits(): boolean {
    return this.#phase === 'queued' || this.#phase === 'connecting';
  }

  #hasSent(): boolean {
    return this.#phase === 'sent' || this.#phase === 'responding' || this.#phase === 'tunnel';
  }

  #hold(bytes: number): boolean {
    if (!this.#context.heldBodies.take(bytes)) return false;
    this.#heldBytes += bytes;
    return true;
  }

  #holdNothing(): void {
    this.#context.heldBodies.give(this.#heldBytes);
    this.#heldBytes = 0;
    this.#mayReadAhead = false;
  }

  /** Sending it a second time does no harm, and all that would have to be sent is still here. */
  #repeatable(): boolean {
    return this.#replay !== undefined && idempotent.has(this.method);
  }

  #spendRetry(): boolean {
    if (this.#revision.retryBudget < 1) return false;
    this.#revision.retryBudget -= 1;
    return true;
  }

  #unreachable(detail: string): void {
    const instance = this.#instance;
    if (!instance) return;
    const now = this.#context.now();
    const backoffMs = instance.markDown(now);
    this.#context.unreachable(instance, detail);
    this.#context.after(backoffMs, () => this.#revision.pump(this.#context.now()));
    if (this.#connects >= maxConnectAttempts) {
      this.#answer({
        status: 502,
        reason: 'InstanceUnreachable',
        message: `no instance of ${this.#revision.entry.id} accepted a connection`,
        retryAfter: 1,
      });
      return;
    }
    this.#retry();
  }

  #retry(): void {
    const instance = this.#instance;
    if (!instance) return;
    this.#instance = undefined;
    this.#phase = 'queued';
    this.#revision.requeue(this, instance, this.#context.now());
    this.#context.settle(instance);
  }

  #send(connection: InstanceConnection): void {
    this.#phase = 'sent';
    this.#sends++;
    const text = requestHeadText(this.head, this.#client.origin, {
      traceparent: this.#traceparent,
      requestId: this.requestId,
    });
    let more: boolean;
    if (this.#replay === undefined || this.#replay.length === 0) {
      more = connection.writeText(text);
    } else {
      more = connection.write(Buffer.concat([Buffer.from(text, 'latin1'), ...this.#replay]));
      this.#keepForReplay();
    }
    this.#instanceBlocked = !more;
    if (!this.requestDone) this.#client.readingChanged();
  }

  #forward(slice: Buffer): void {
    this.#bytesIn += slice.length;
    if (this.#replay) {
      this.#replay.push(slice);
      this.#replayBytes += slice.length;
    }
    if (!this.#hasSent()) {
      if (this.blocksReading) this.#client.readingChanged();
      return;
    }
    this.#keepForReplay();
    if (this.#connection && !this.#connection.write(slice)) {
      this.#instanceBlocked = true;
      this.#client.readingChanged();
    }
  }

  /** What was sent is kept only where sending it again could be of use, and while there is room. */
  #keepForReplay(): void {
    this.#holdNothing();
    if (!this.#replay) return;
    const keep = this.#replayBytes <= maxReplayBytes && idempotent.has(this.method) && this.#hold(this.#replayBytes);
    if (!keep) this.#replay = undefined;
  }

  #begin(head: ResponseHead): void {
    const now = this.#context.now();
    this.#phase = 'responding';
    this.#status = head.status;
    this.#firstByteAt = now;
    this.#lastWriteAt = now;
    this.#replay = undefined;
    this.#holdNothing();
  }

  /** `Server-Timing` on cold responses only: how long the client waited for an instance. */
  #timing(): string {
    return this.cold ? `Server-Timing: queue;dur=${this.#queuedMs.toFixed(1)}, cold\r\n` : '';
  }

  #tunnelEnded(): void {
    if (++this.#tunnelEnds < 2) return;
    this.#finish(this.#status, undefined, false);
  }

  /**
   * Time is over after the head went out: the status stands. A chunked body ends with a last chunk where a chunk has just ended,
   * and one without a length ends with its connection; a body that promised more bytes can only be cut.
   */
  #endEarly(): void {
    const blocked = this.#client.writeBlocked;
    const framing = this.#framing;
    const clean =
      this.#phase === 'responding' &&
      !blocked &&
      (framing === 'chunk' ||
        framing === 'close' ||
        (framing === 'chunked' && this.#responseReader?.atBoundary === true));
    if (clean && framing !== 'close') this.#client.writeText('0\r\n\r\n');
    this.#finish(this.#status, 'RequestTimeout', clean ? false : 'cut');
  }

  #answer(answer: Answer): void {
    if (this.#phase === 'over') return;
    this.#client.answer(this, answer);
    this.#finish(answer.status, answer.reason, this.head.keepAlive && this.requestDone && !this.#context.closing);
  }

  #abandonConnection(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.destroy();
  }

  #finish(status: number, reason: Reason | 'ClientGone' | undefined, keep: boolean | 'cut'): void {
    if (this.#phase === 'over') return;
    const now = this.#context.now();
    const wasQueued = this.queued;
    this.#phase = 'over';
    this.#replay = undefined;
    this.#holdNothing();
    this.#instanceBlocked = false;
    this.#abandonConnection();
    const instance = this.#instance;
    this.#context.log({
      exchange: this,
      address: this.#client.origin.address,
      revision: this.#revision.entry.id,
      instance: instance?.id,
      status,
      reason,
      cold: this.cold,
      queueMs: instance ? this.#queuedMs : now - this.#startedAt,
      connectMs: this.#connectMs,
      firstByteMs: this.#firstByteAt === 0 ? undefined : this.#firstByteAt - this.#startedAt,
      totalMs: now - this.#startedAt,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    });
    if (wasQueued) this.#revision.leave(this, now);
    if (instance) {
      this.#revision.release(instance, now);
      this.#context.settle(instance);
    }
    this.#client.over(this, keep);
  }
}

function requestReaderOf(head: RequestHead): BodyReader {
  switch (head.body.kind) {
    case 'none':
      return noBodyReader;
    case 'length':
      return head.body.bytes === 0 ? noBodyReader : new LengthReader(head.body.bytes);
    case 'chunked':
      return new ChunkedReader();
  }
}
