import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../platform/errors.ts';
import { ChunkedReader, CloseReader, LengthReader, noBodyReader, type BodyReader } from './http1/body.ts';
import { HeadError, type FieldNames } from './http1/fields.ts';
import { readResponseHead, type ResponseHead } from './http1/response-head.ts';
import { Http2Socket } from './http2-socket.ts';
import type { Instance } from './instance.ts';
import { Outbox, type TurnEnd } from './outbox.ts';

const maxHeadBytes = 32 * 1024;
const maxInformational = 16;
/** For how long an idle connection is kept; a request that can't be repeated uses it only while it is surely open. */
const idleMs = 55_000;
/** Servers seldom close an idle connection sooner (Node: 5 s). Shortened by the server's own `Keep-Alive: timeout=`. */
const surelyOpenMs = 4_000;

/** What an instance connection tells the exchange that uses it. */
export interface ConnectionUser {
  readonly method: string;
  /** The client can't take chunks: a chunked body is to be handed over decoded. */
  readonly decodeChunked: boolean;
  connected(): void;
  /** 1xx but 101. */
  informational(head: ResponseHead): void;
  /** 101; `rest` is what came after the head. From here on the bytes are handed over by {@link tunnelData}. */
  switched(head: ResponseHead, rest: Buffer | undefined): void;
  responseHead(head: ResponseHead, reader: BodyReader): void;
  /** The slice's memory is used again afterwards. */
  responseData(slice: Buffer): void;
  /** The response is complete; `reusable` if the connection may take another request once this one was sent whole. */
  responseEnd(reusable: boolean): void;
  /** As with {@link responseData}. */
  tunnelData(chunk: Buffer): void;
  tunnelEnd(): void;
  /** The instance reads again. */
  writable(): void;
  /** The connection ended before the response did. Called once, not after {@link responseEnd}. */
  lost(reason: LostReason, detail: string): void;
}

export type LostReason = 'connect' | 'closed' | 'bad-response';

/** One keep-alive connection to an instance: writes requests, cuts responses out of what comes back, strictly. */
export class InstanceConnection {
  readonly instance: Instance;
  readonly #socket: Duplex;
  readonly #outbox: Outbox;
  readonly #names: FieldNames;
  readonly #now: () => number;
  readonly #slices: Buffer[] = [];
  #user: ConnectionUser | undefined;
  #state: 'connecting' | 'open' | 'tunnel' | 'closed' = 'connecting';
  #partial: Buffer | undefined;
  #reader: BodyReader | undefined;
  #reusable = false;
  #informational = 0;
  #idleSince = 0;
  #surelyOpenMs = surelyOpenMs;
  #idleMs = idleMs;
  readonly #onConnect: () => void;
  /** Requests that were begun on it. */
  uses = 0;

  constructor(
    instance: Instance,
    user: ConnectionUser,
    options: {
      protocol: 'http1' | 'h2c';
      names: FieldNames;
      now: () => number;
      readBuffer: Buffer;
      turnEnd: TurnEnd;
      onConnectSettled: () => void;
    },
  ) {
    this.instance = instance;
    this.#user = user;
    this.#names = options.names;
    this.#now = options.now;
    this.#onConnect = options.onConnectSettled;
    instance.connecting++;
    this.uses = 1;
    const { host, port } = instance.entry;
    const { readBuffer } = options;
    if (options.protocol === 'h2c') {
      this.#socket = new Http2Socket({ host, port });
      this.#socket.on('data', (chunk: Buffer) => this.#data(chunk));
    } else {
      this.#socket = connect({
        host,
        port,
        // The end of a tunnel's one direction must not end the other.
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 60_000,
        // A buffer of 64 KB for each read, as streams have it, costs more than all of the parsing.
        onread: { buffer: readBuffer, callback: (length) => this.#read(readBuffer, length) },
      });
    }
    this.#outbox = new Outbox(this.#socket, options.turnEnd);
    this.#socket.on('connect', () => this.#connected());
    this.#socket.on('drain', () => this.#user?.writable());
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('error', (error) => this.#failed(messageOf(error)));
    this.#socket.on('close', () => this.#failed('the connection was closed'));
  }

  get connecting(): boolean {
    return this.#state === 'connecting';
  }

  /** Takes an idle connection into use. */
  use(user: ConnectionUser): void {
    this.#user = user;
    this.uses++;
  }

  /** False: stop until `writable`. */
  write(data: Buffer): boolean {
    return this.#outbox.write(data);
  }

  writeText(text: string): boolean {
    return this.#outbox.writeText(text);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  endTunnel(): void {
    this.#outbox.flush();
    this.#socket.end();
  }

  /** Back to the pool. */
  toIdle(): void {
    this.#user = undefined;
    this.#idleSince = this.#now();
    this.#socket.resume();
    this.instance.keepIdle(this);
  }

  surelyOpen(now: number): boolean {
    return now - this.#idleSince < this.#surelyOpenMs;
  }

  expired(now: number): boolean {
    return now - this.#idleSince > this.#idleMs;
  }

  /** Ends it without a word to the user. */
  destroy(): void {
    const wasConnecting = this.#state === 'connecting';
    this.#user = undefined;
    this.#close();
    if (wasConnecting) this.#onConnect();
  }

  #close(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'connecting') this.instance.connecting--;
    this.#state = 'closed';
    this.#partial = undefined;
    this.instance.forgetIdle(this);
    this.#outbox.flush();
    this.#socket.destroy();
  }

  #connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'open';
    this.instance.connecting--;
    this.instance.markUp();
    this.#user?.connected();
    this.#onConnect();
  }

  #lose(reason: LostReason, detail: string): void {
    const user = this.#user;
    const wasConnecting = this.#state === 'connecting';
    this.#user = undefined;
    this.#close();
    // The user first: it marks the instance as down before others are sent there.
    user?.lost(reason, detail);
    if (wasConnecting) this.#onConnect();
  }

  #failed(detail: string): void {
    if (this.#state === 'closed') return;
    this.#lose(this.#state === 'connecting' ? 'connect' : 'closed', detail);
  }

  #ended(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'tunnel') {
      this.#user?.tunnelEnd();
      return;
    }
    const user = this.#user;
    if (user && this.#reader instanceof CloseReader) {
      this.#user = undefined;
      this.#close();
      user.responseEnd(false);
      return;
    }
    this.#lose('closed', 'the instance closed the connection');
  }

  /** True: go on reading. */
  #read(buffer: Buffer, length: number): boolean {
    this.#data(buffer.subarray(0, length));
    return true;
  }

  #data(received: Buffer): void {
    const user = this.#user;
    if (!user) {
      // Bytes that nobody asked for: whoever sends them must not be asked again on this connection.
      this.destroy();
      return;
    }
    if (this.#state === 'tunnel') {
      user.tunnelData(received);
      return;
    }
    let chunk = received;
    let at = 0;
    if (!this.#reader) {
      const partial = this.#partial;
      if (partial) {
        chunk = Buffer.concat([partial, received]);
        this.#partial = undefined;
      }
      at = this.#heads(chunk, partial ? Math.max(0, partial.length - 3) : 0, user);
      if (at < 0 || this.#user !== user || !this.#reader) return;
    }
    const reader: BodyReader = this.#reader;
    const slices = this.#slices;
    slices.length = 0;
    const next = reader.feed(chunk, at, slices);
    for (const slice of slices) {
      user.responseData(slice);
      if (this.#user !== user) return;
    }
    slices.length = 0;
    if (next < 0) {
      this.#lose('bad-response', 'the chunked body is malformed');
      return;
    }
    if (!reader.done) return;
    const reusable = this.#reusable && next === chunk.length;
    this.#reader = undefined;
    this.#informational = 0;
    user.responseEnd(reusable);
  }

  /** Reads heads up to the final one. Returns the index after it, or -1 when there is none yet or all is over. */
  #heads(chunk: Buffer, searchFrom: number, user: ConnectionUser): number {
    let start = 0;
    let from = searchFrom;
    for (;;) {
      const end = chunk.indexOf('\r\n\r\n', from, 'latin1');
      if (end < 0 || end - start > maxHeadBytes) {
        if (chunk.length - start > maxHeadBytes)
          this.#lose('bad-response', `a head of more than ${maxHeadBytes} bytes`);
        // A copy: the memory that was read into is used again.
        else this.#partial = Buffer.from(chunk.subarray(start));
        return -1;
      }
      const head = readResponseHead(this.#names, chunk.toString('latin1', start, end + 2), user.method);
      if (head instanceof HeadError) {
        this.#lose('bad-response', head.message);
        return -1;
      }
      start = from = end + 4;
      if (head.status === 101) {
        this.#state = 'tunnel';
        user.switched(head, start < chunk.length ? chunk.subarray(start) : undefined);
        return -1;
      }
      if (head.status >= 200) {
        this.#reader = readerOf(head, user.decodeChunked);
        this.#reusable = head.reusable;
        if (head.keepAliveSeconds !== undefined) {
          // A second of margin for the way there.
          const ms = Math.max(0, head.keepAliveSeconds * 1000 - 1000);
          this.#surelyOpenMs = ms;
          this.#idleMs = Math.min(idleMs, ms);
        }
        user.responseHead(head, this.#reader);
        return start;
      }
      if (++this.#informational > maxInformational) {
        this.#lose('bad-response', `more than ${maxInformational} informational responses`);
        return -1;
      }
      user.informational(head);
      if (this.#user !== user) return -1;
    }
  }
}

function readerOf(head: ResponseHead, decode: boolean): BodyReader {
  switch (head.body.kind) {
    case 'none':
      return noBodyReader;
    case 'length':
      return head.body.bytes === 0 ? noBodyReader : new LengthReader(head.body.bytes);
    case 'chunked':
      return new ChunkedReader({ decode });
    case 'close':
      return new CloseReader();
  }
}
