import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { Clock } from '../platform/clock.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { AccessRecord } from './context.ts';

const flushEveryMs = 250;
const flushBytes = 64 * 1024;

/**
 * The access log: one JSON object a line, written behind the requests' backs. When the disk is slower than the traffic, lines
 * are dropped and counted (`{"dropped":N}`); requests never wait for it.
 */
export class AccessLog implements AsyncDisposable {
  readonly #path: string;
  readonly #options: { maxBytes: number; keep: number; maxBufferedBytes: number };
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #timer: Disposable;
  #file: FileHandle | undefined;
  #size = 0;
  #text = '';
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #failed = false;

  constructor(
    path: string,
    options: { clock: Clock; logger: Logger; maxBytes?: number; keep?: number; maxBufferedBytes?: number },
  ) {
    this.#path = path;
    this.#clock = options.clock;
    this.#log = options.logger;
    this.#options = {
      maxBytes: options.maxBytes ?? 64 * 1024 * 1024,
      keep: options.keep ?? 4,
      maxBufferedBytes: options.maxBufferedBytes ?? 8 * 1024 * 1024,
    };
    this.#timer = options.clock.every(flushEveryMs, () => this.#flush());
  }

  /** Notes a request that ended now. */
  add(record: AccessRecord): void {
    if (this.#text.length > this.#options.maxBufferedBytes) {
      this.#dropped++;
      return;
    }
    this.#text += lineOf(record, this.#clock.now());
    if (this.#text.length >= flushBytes) this.#flush();
  }

  /** Everything that was added before is in the file, or given up. */
  async flush(): Promise<void> {
    while (this.#text !== '' || this.#dropped > 0 || this.#writing) {
      this.#flush();
      await this.#writing;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer[Symbol.dispose]();
    await this.flush();
    await this.#file?.close();
    this.#file = undefined;
  }

  #flush(): void {
    if (this.#writing || (this.#text === '' && this.#dropped === 0)) return;
    let text = this.#text;
    this.#text = '';
    if (this.#dropped > 0)
      text += `{"time":"${new Date(this.#clock.now()).toISOString()}","dropped":${this.#dropped}}\n`;
    this.#dropped = 0;
    this.#writing = this.#write(text)
      .then(() => {
        if (this.#failed) this.#log.info({ path: this.#path }, 'the access log is written again');
        this.#failed = false;
      })
      .catch(async (error: unknown) => {
        // A full disk must not end the gateway, nor fill the gateway's own log: said once until it works again.
        if (!this.#failed)
          this.#log.error({ path: this.#path, error: messageOf(error) }, 'cannot write the access log');
        this.#failed = true;
        await this.#file?.close().catch(() => undefined);
        this.#file = undefined;
      })
      .finally(() => {
        this.#writing = undefined;
        if (this.#text.length >= flushBytes) this.#flush();
      });
  }

  async #write(text: string): Promise<void> {
    if (!this.#file) {
      this.#file = await open(this.#path, 'a', 0o640);
      this.#size = (await this.#file.stat()).size;
    }
    const bytes = Buffer.from(text, 'utf8');
    await this.#file.appendFile(bytes);
    this.#size += bytes.length;
    if (this.#size >= this.#options.maxBytes) await this.#rotate();
  }

  /** `access.log` becomes `access.log.1`, and so on; the oldest goes. */
  async #rotate(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
    await rm(`${this.#path}.${this.#options.keep}`, { force: true });
    for (let n = this.#options.keep - 1; n >= 0; n--) {
      const from = n === 0 ? this.#path : `${this.#path}.${n}`;
      await rename(from, `${this.#path}.${n + 1}`).catch((error: unknown) => {
        if (n === 0) throw error; // Gaps in the older ones are normal.
      });
    }
  }
}

/** Built by hand: only the fields that a client writes can need escaping, and this runs for every request. */
function lineOf(record: AccessRecord, nowMs: number): string {
  const { head, requestId } = record.exchange;
  return (
    `{"time":"${new Date(nowMs).toISOString()}","id":"${requestId}","client":"${record.address}"` +
    `,"method":"${escaped(head.method)}","host":"${escaped(head.host)}","path":"${escaped(head.target)}"` +
    `,"status":${record.status}` +
    (record.reason === undefined ? '' : `,"reason":"${record.reason}"`) +
    (record.revision === undefined ? '' : `,"revision":"${escaped(record.revision)}"`) +
    (record.instance === undefined ? '' : `,"instance":"${escaped(record.instance)}"`) +
    (record.cold ? ',"cold":true' : '') +
    `,"queueMs":${rounded(record.queueMs)},"connectMs":${rounded(record.connectMs)}` +
    (record.firstByteMs === undefined ? '' : `,"ttfbMs":${rounded(record.firstByteMs)}`) +
    `,"totalMs":${rounded(record.totalMs)},"bytesIn":${record.bytesIn},"bytesOut":${record.bytesOut}` +
    (head.fields.userAgent === '' ? '' : `,"userAgent":"${escaped(head.fields.userAgent.slice(0, 256))}"`) +
    '}\n'
  );
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function escaped(text: string): string {
  const bounded = text.length > 2048 ? text.slice(0, 2048) : text;
  return plain.test(bounded) ? bounded : JSON.stringify(bounded).slice(1, -1);
}
