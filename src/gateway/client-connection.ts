import type { Duplex } from 'node:stream';
import { answerText, plainAnswer, type Answer } from './answer.ts';
import type { GatewayContext } from './context.ts';
import { Exchange, type ExchangeClient } from './exchange.ts';
import { HeadError, type FieldNames } from './http1/fields.ts';
import { readRequestHead, type RequestHead } from './http1/request-head.ts';
import type { Origin } from './http1/write-head.ts';
import { Outbox } from './outbox.ts';
import { prefaceHead } from './http2-client.ts';
import type { Revision } from './revision.ts';

/** Where a request goes: to a revision, or it is answered on the spot. */
export type Destination =
  { revision: Revision } | { answer: Answer } | { text: string; fields: string; status: number };

/** A TCP connection, or one request of an HTTP/2 connection dressed up as one. */
export type ClientSocket = Duplex & { readonly remoteAddress?: string | undefined };

/** Bytes of further requests that are read ahead while one is being answered. */
const maxReadAhead = 64 * 1024;
/** Bytes thrown away after an answer that came before the end of its request, so that the client gets to read it. */
const maxLingerBytes = 1024 * 1024;

/**
 * One client's connection: reads heads, runs one exchange after the other (pipelined requests wait for their turn), and bounds
 * everything that a client could draw out.
 */
export class ClientConnection implements ExchangeClient {
  readonly origin: Origin;
  readonly #socket: ClientSocket;
  readonly #outbox: Outbox;
  readonly #context: GatewayContext;
  readonly #names: FieldNames;
  readonly #destination: (head: RequestHead) => Destination;
  readonly #onClose: (connection: ClientConnection) => void;
  /** Until the first request. */
  #onHttp2: ((received: Buffer) => void) | undefined;
  readonly #listeners: [string, (chunk: Buffer) => void][];
  /** Received and not yet looked at. */
  #pending: Buffer | undefined;
  /** Up to here `#pending` has no end of a head. */
  #searched = 0;
  #exchange: Exchange | undefined;
  #processing = false;
  #reading = true;
  #state: 'open' | 'lingering' | 'closed' = 'open';
  #lingered = 0;
  /** Monotonic milliseconds at which patience with the present state ends, while no exchange runs. */
  #deadline: number;

  constructor(
    socket: ClientSocket,
    options: {
      context: GatewayContext;
      names: FieldNames;
      destination: (head: RequestHead) => Destination;
      onClose: (connection: ClientConnection) => void;
      /** The client speaks HTTP/2: the socket is no longer this connection's. */
      onHttp2?: (received: Buffer) => void;
    },
  ) {
    this.#socket = socket;
    this.#outbox = new Outbox(socket, options.context.turnEnd);
    this.#context = options.context;
    this.#names = options.names;
    this.#destination = options.destination;
    this.#onClose = options.onClose;
    this.#onHttp2 = options.onHttp2;
    this.#deadline = options.context.now() + options.context.limits.headMs;
    this.origin = { address: (socket.remoteAddress ?? 'unknown').replace(/^::ffff:/, ''), proto: 'http' };
    this.#listeners = [
      ['data', (chunk) => this.#data(chunk)],
      ['drain', () => this.#writable()],
      ['end', () => this.#ended()],
      // 'close' follows and does the work.
      ['error', () => undefined],
      ['close', () => this.#closed()],
    ];
    for (const [event, listener] of this.#listeners) socket.on(event, listener);
  }

  /** Nothing is under way on it. */
  get idle(): boolean {
    return this.#exchange === undefined;
  }

  /** Ends what is past its time. */
  sweep(now: number): void {
    if (this.#exchange) this.#exchange.sweep(now);
    else if (now >= this.#deadline) {
      if (this.#state === 'open' && this.#pending !== undefined && this.#pending.length > 0) {
        this.#refuse({ status: 408, reason: 'SlowHead', message: 'the request head took too long' }, undefined);
      } else {
        this.destroy();
      }
    }
  }

  /** Closes it in peace if it is idle; otherwise its exchange is its last. */
  close(): void {
    if (this.idle && this.#state === 'open') this.#linger();
  }

  destroy(): void {
    this.#outbox.flush();
    this.#socket.destroy();
  }

  // ---- for the exchange ----

  get writeBlocked(): boolean {
    return this.#outbox.blocked;
  }

  write(data: Buffer): boolean {
    return this.#outbox.write(data);
  }

  writeText(text: string): boolean {
    return this.#outbox.writeText(text);
  }

  readingChanged(): void {
    this.#updateReading();
    this.#process();
  }

  answer(exchange: Exchange, answer: Answer): void {
    const keep = exchange.head.keepAlive && exchange.requestDone && !this.#context.closing;
    this.#answerWith(answerText(answer, exchange.head, exchange.requestId, keep ? 'keep-alive' : 'close'));
  }

  over(exchange: Exchange, keep: boolean | 'cut'): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    if (this.#state === 'closed') return;
    if (keep === 'cut') {
      this.destroy();
    } else if (!keep || this.#context.closing) {
      this.#linger();
    } else {
      this.#deadline = this.#context.now() + this.#context.limits.keepAliveMs;
      this.#updateReading();
      this.#process();
    }
  }

  endTunnel(): void {
    this.#outbox.flush();
    this.#socket.end();
  }

  // ---- from the socket ----

  #data(chunk: Buffer): void {
    if (this.#state !== 'open') {
      this.#lingered += chunk.length;
      if (this.#lingered > maxLingerBytes) this.destroy();
      return;
    }
    this.#pending = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#process();
  }

  #writable(): void {
    this.#exchange?.clientWritable();
    this.#process();
  }

  /**
   * The client will send no more. While it waits for a response that means that it left (as for nginx and Go: a client that
   * closes its socket looks the same as one that only closes its sending side); in a tunnel it is passed on.
   */
  #ended(): void {
    if (this.#exchange?.isTunnel) this.#exchange.clientEnded();
    else if (this.#exchange) this.destroy();
    else if (this.#state === 'open') this.#linger();
    else if (this.#socket.writableFinished) this.destroy();
  }

  #closed(): void {
    this.#state = 'closed';
    this.#pending = undefined;
    this.#exchange?.clientGone();
    this.#onClose(this);
  }

  // ---- inside ----

  /** Looks at what was received, as far as the present state allows. */
  #process(): void {
    if (this.#processing) return;
    this.#processing = true;
    try {
      while (this.#pending !== undefined && this.#state === 'open' && this.#step(this.#pending));
    } finally {
      this.#processing = false;
    }
    this.#updateReading();
  }

  /** One step; false when it needs more bytes or must wait. */
  #step(pending: Buffer): boolean {
    const exchange = this.#exchange;
    if (!exchange) return this.#nextHead(pending);
    if (exchange.isTunnel) {
      this.#pending = undefined;
      exchange.tunnelFromClient(pending);
      return false;
    }
    if (exchange.requestDone) return false;
    this.#pending = undefined;
    return this.#body(exchange, pending, 0);
  }

  #body(exchange: Exchange, chunk: Buffer, from: number): boolean {
    const next = exchange.requestData(chunk, from);
    if (next < 0) {
      exchange.badRequest('the chunked body is malformed');
      return false;
    }
    if (next < chunk.length) this.#pending = chunk.subarray(next);
    return next < chunk.length;
  }

  #nextHead(pending: Buffer): boolean {
    // A client that does not read its responses gets no more of them.
    if (this.#outbox.blocked) return false;
    let start = 0;
    // Empty lines before a request line are skipped (RFC 9112 section 2.2); two are patience enough.
    while (start < 4 && pending[start] === 13 && pending[start + 1] === 10) start += 2;
    const end = pending.indexOf('\r\n\r\n', Math.max(start, this.#searched), 'latin1');
    const { maxHeadBytes } = this.#context.limits;
    if (end < 0 || end - start > maxHeadBytes) {
      if (pending.length - start > maxHeadBytes) {
        this.#refuse(
          { status: 431, reason: 'HeadTooLarge', message: `the head is over ${maxHeadBytes} bytes` },
          undefined,
        );
        return false;
      }
      if (hasBareLineFeed(pending, Math.max(0, this.#searched - 1))) {
        this.#refuse({ status: 400, reason: 'BadRequest', message: 'a line ends with a bare line feed' }, undefined);
        return false;
      }
      if (this.#searched === 0) this.#deadline = this.#context.now() + this.#context.limits.headMs;
      this.#searched = Math.max(1, pending.length - 3);
      return false;
    }
    this.#searched = 0;
    const after = end + 4;
    const onHttp2 = this.#onHttp2;
    this.#onHttp2 = undefined;
    if (onHttp2 && start === 0 && pending.toString('latin1', 0, prefaceHead.length) === prefaceHead) {
      this.#handOver(onHttp2, pending);
      return false;
    }
    this.#pending = undefined;
    const head = readRequestHead(this.#names, pending.toString('latin1', start, end + 2));
    if (head instanceof HeadError) {
      const reason = head.status === 431 ? 'HeadTooLarge' : 'BadRequest';
      this.#refuse({ status: head.status, reason, message: head.message }, undefined);
      return false;
    }
    this.#begin(head, pending, after);
    return this.#pending !== undefined;
  }

  #handOver(onHttp2: (received: Buffer) => void, received: Buffer): void {
    for (const [event, listener] of this.#listeners) this.#socket.off(event, listener);
    this.#closed();
    onHttp2(received);
  }

  #begin(head: RequestHead, chunk: Buffer, bodyFrom: number): void {
    const destination = this.#destination(head);
    if (!('revision' in destination)) {
      this.#answerHere(head, destination, chunk, bodyFrom);
      return;
    }
    const now = this.#context.now();
    const exchange = new Exchange(this, this.#context, head, destination.revision, now);
    this.#exchange = exchange;
    // The body that came with the head first, so that a small request goes to the instance in one write.
    if (bodyFrom < chunk.length) {
      if (exchange.requestDone) this.#pending = chunk.subarray(bodyFrom);
      else this.#body(exchange, chunk, bodyFrom);
    }
    if (this.#exchange === exchange) exchange.start();
  }

  /** Requests for nobody: unknown hosts, probes. Their bodies are not read: with one, the connection ends. */
  #answerHere(
    head: RequestHead,
    destination: Exclude<Destination, { revision: Revision }>,
    chunk: Buffer,
    bodyFrom: number,
  ): void {
    if ('answer' in destination) {
      this.#refuse(destination.answer, head, chunk, bodyFrom);
      return;
    }
    const keep = this.#mayKeep(head);
    const connection = keep ? 'keep-alive' : 'close';
    this.#answerWith(
      plainAnswer(destination.status, destination.text, destination.fields, head.method === 'HEAD', connection),
    );
    this.#afterAnswer(keep, chunk, bodyFrom);
  }

  #refuse(answer: Answer, head: RequestHead | undefined, chunk?: Buffer, bodyFrom = 0): void {
    const keep = head !== undefined && this.#mayKeep(head);
    const { requestId } = this.#context.trace(head?.fields.traceparent ?? '', head?.fields.requestId ?? '');
    const text = answerText(answer, head, requestId, keep ? 'keep-alive' : 'close');
    this.#answerWith(text);
    this.#context.log({
      exchange: { head, requestId },
      address: this.origin.address,
      revision: undefined,
      instance: undefined,
      status: answer.status,
      reason: answer.reason,
      cold: false,
      queueMs: 0,
      connectMs: 0,
      firstByteMs: undefined,
      totalMs: 0,
      bytesIn: 0,
      bytesOut: 0,
    });
    this.#afterAnswer(keep, chunk, bodyFrom);
  }

  /** Names in an answer may be of any script. */
  #answerWith(text: string): void {
    this.#outbox.write(Buffer.from(text));
  }

  #mayKeep(head: RequestHead): boolean {
    const empty = head.body.kind === 'none' || (head.body.kind === 'length' && head.body.bytes === 0);
    return head.keepAlive && empty && !this.#context.closing;
  }

  #afterAnswer(keep: boolean, chunk: Buffer | undefined, bodyFrom: number): void {
    if (!keep) {
      this.#linger();
      return;
    }
    this.#deadline = this.#context.now() + this.#context.limits.keepAliveMs;
    if (chunk && bodyFrom < chunk.length) this.#pending = chunk.subarray(bodyFrom);
  }

  /**
   * Ends the connection after what was written, reading and forgetting what still comes for a moment: closing a socket with
   * unread bytes would reset it and could take the answer away from the client (RFC 9112 section 9.6).
   */
  #linger(): void {
    this.#state = 'lingering';
    this.#pending = undefined;
    this.#deadline = this.#context.now() + this.#context.limits.lingerMs;
    this.#updateReading();
    this.#outbox.flush();
    this.#socket.end(() => {
      if (this.#socket.readableEnded) this.destroy();
    });
  }

  #updateReading(): void {
    let read = true;
    if (this.#state === 'open') {
      if (this.#exchange?.blocksReading) read = false;
      else if ((this.#pending?.length ?? 0) > maxReadAhead) read = this.#exchange === undefined && !this.writeBlocked;
    }
    if (read === this.#reading) return;
    this.#reading = read;
    if (read) this.#socket.resume();
    else this.#socket.pause();
  }
}

function hasBareLineFeed(bytes: Buffer, from: number): boolean {
  for (let at = bytes.indexOf(10, from); at >= 0; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 13) return true;
  }
  return false;
}
