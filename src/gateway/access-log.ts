import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { Clock } from '../platform/clock.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { AccessRecord } from './context.ts';

const flushEveryMs = 250;
const pageBytes = 128 * 1024;
/** Longer than any line: its parts are bounded below. */
const maxLineBytes = 48 * 1024;

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
  readonly #times = new IsoTimes();
  #file: FileHandle | undefined;
  #size = 0;
  /** Lines, as bytes: text would have to be converted again, and would live long enough to burden the garbage collector. */
  #page: Buffer = Buffer.allocUnsafeSlow(pageBytes);
  #used = 0;
  /** A page that was written and may be filled again. */
  #spare: Buffer | undefined;
  readonly #full: Buffer[] = [];
  #fullBytes = 0;
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
    if (this.#fullBytes + this.#used > this.#options.maxBufferedBytes) {
      this.#dropped++;
      return;
    }
    this.#used += this.#page.write(lineOf(record, this.#times.text(this.#clock.now())), this.#used, 'latin1');
    if (this.#used > pageBytes - maxLineBytes) {
      this.#turnPage();
      this.#flush();
    }
  }

  /** Everything that was added before is in the file, or given up. */
  async flush(): Promise<void> {
    while (this.#used > 0 || this.#fullBytes > 0 || this.#dropped > 0 || this.#writing) {
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
    if (this.#writing) return;
    if (this.#fullBytes === 0 && this.#used > 0) this.#turnPage();
    const pages = this.#full.splice(0);
    this.#fullBytes = 0;
    if (this.#dropped > 0) {
      pages.push(Buffer.from(`{"time":"${this.#times.text(this.#clock.now())}","dropped":${this.#dropped}}\n`));
      this.#dropped = 0;
    }
    if (pages.length === 0) return;
    this.#writing = this.#write(pages)
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
        if (this.#fullBytes > 0) this.#flush();
      });
  }

  #turnPage(): void {
    this.#full.push(this.#page.subarray(0, this.#used));
    this.#fullBytes += this.#used;
    this.#page = this.#spare ?? Buffer.allocUnsafeSlow(pageBytes);
    this.#spare = undefined;
    this.#used = 0;
  }

  async #write(pages: Buffer[]): Promise<void> {
    if (!this.#file) {
      this.#file = await open(this.#path, 'a', 0o640);
      this.#size = (await this.#file.stat()).size;
    }
    for (const page of pages) {
      await this.#file.appendFile(page);
      this.#size += page.length;
      if (page.buffer.byteLength === pageBytes) this.#spare = Buffer.from(page.buffer);
    }
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

/** Times as ISO 8601 text; the part down to the second is made once a second. */
class IsoTimes {
  #second = NaN;
  #prefix = '';

  text(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#prefix = new Date(second * 1000).toISOString().slice(0, -4);
    }
    return `${this.#prefix}${threeDigits(Math.floor(ms - second * 1000))}Z`;
  }
}

/** ASCII, ended by a line feed. Built by hand: only the fields that a client writes can need escaping, and this runs for every request. */
function lineOf(record: AccessRecord, time: string): string {
  const { head, requestId } = record.exchange;
  return (
    `{"time":"${time}","id":"${requestId}","client":"${record.address}"` +
    (head === undefined
      ? ''
      : `,"method":"${escaped(head.method)}","host":"${escaped(head.host)}","path":"${escaped(head.target)}"`) +
    `,"status":${record.status}` +
    (record.reason === undefined ? '' : `,"reason":"${record.reason}"`) +
    (record.revision === undefined ? '' : `,"revision":"${escaped(record.revision)}"`) +
    (record.instance === undefined ? '' : `,"instance":"${escaped(record.instance)}"`) +
    (record.cold ? ',"cold":true' : '') +
    `,"queueMs":${rounded(record.queueMs)},"connectMs":${rounded(record.connectMs)}` +
    (record.firstByteMs === undefined ? '' : `,"ttfbMs":${rounded(record.firstByteMs)}`) +
    `,"totalMs":${rounded(record.totalMs)},"bytesIn":${record.bytesIn},"bytesOut":${record.bytesOut}` +
    (head === undefined || head.fields.userAgent === ''
      ? ''
      : `,"userAgent":"${escaped(head.fields.userAgent.slice(0, 256))}"`) +
    '}\n'
  );
}

/** Milliseconds with three decimals: whole numbers are far cheaper to write than fractions. */
function rounded(ms: number): string {
  const micros = Math.round(ms * 1000);
  const whole = Math.floor(micros / 1000);
  return micros === whole * 1000 ? `${whole}` : `${whole}.${threeDigits(micros - whole * 1000)}`;
}

function threeDigits(n: number): string {
  return n > 99 ? `${n}` : n > 9 ? `0${n}` : `00${n}`;
}

const plain = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function escaped(text: string): string {
  const bounded = text.length > 2048 ? text.slice(0, 2048) : text;
  if (plain.test(bounded)) return bounded;
  return JSON.stringify(bounded)
    .slice(1, -1)
    .replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
