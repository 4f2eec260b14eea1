import { watch, type FSWatcher } from 'node:fs';
import { open, type FileHandle, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { EbbError } from '../../platform/errors.ts';
import type { LogLine, LogOptions } from '../engine.ts';
import { CriJoiner, timeMs } from './cri-log.ts';
import type { LogFiles } from './log-files.ts';

export interface LogSource {
  files: LogFiles;
  /** Name of the container of an instance. */
  containerOf(instance: string): string;
  /** Calls when an instance of any workload changes: there may be a new log. */
  onInstance(listener: () => void): Disposable;
  /** Aborts when the engine ends: whoever follows is done. */
  ended: AbortSignal;
}

const mostTailLines = 100_000;
const chunkBytes = 64 * 1024;

/**
 * The lines of all instances of a selection, merged by time; with `follow` as they come, new instances included.
 * Throws EbbError InvalidLogSelection.
 */
export async function* readLogs(options: LogOptions, source: LogSource): AsyncGenerator<LogLine> {
  const select = selectionOf(options.of);
  const signal = AbortSignal.any([options.signal, source.ended]);
  await using tails = new Tails(select, source);
  const wanted = (line: LogLine) => options.sinceMs === undefined || timeMs(line.time) >= options.sinceMs;
  // Before the first look, so that nothing falls between the two.
  using news = new News(source, options.follow ? tails : undefined);
  await tails.find();
  if (options.tailLines === undefined) {
    for await (const line of tails.drain(signal)) if (wanted(line)) yield line;
  } else {
    const most = Math.min(mostTailLines, Math.max(0, Math.floor(options.tailLines)));
    let last: LogLine[] = [];
    for await (const line of tails.drain(signal)) {
      if (!wanted(line)) continue;
      last.push(line);
      if (last.length > 2 * most + 1000) last = last.slice(last.length - most);
    }
    yield* most === 0 ? [] : last.slice(-most);
  }
  if (!options.follow) {
    yield* tails.flush();
    return;
  }
  while (!signal.aborted) {
    await news.next(signal);
    await tails.find();
    for await (const line of tails.drain(signal)) if (wanted(line)) yield line;
  }
}

interface Selection {
  namespace?: string;
  service?: string;
  revision?: string;
  instance?: string;
}

function selectionOf(of: LogOptions['of']): Selection {
  let select: Selection;
  if ('workload' in of) {
    const [namespace = '', revision = ''] = of.workload.split('/');
    select = { namespace, revision };
  } else select = 'instance' in of ? { instance: of.instance } : { namespace: of.namespace, service: of.service };
  for (const name of Object.values(select) as string[])
    // These become parts of paths.
    if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name) || name.includes('..'))
      throw new EbbError('InvalidLogSelection', 400, `${JSON.stringify(name.slice(0, 80))} is not a name`);
  return select;
}

/** Waits for a change of any file that is followed. */
class News implements Disposable {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #listening: Disposable | undefined;
  #wake: (() => void) | undefined;
  #fresh = false;

  constructor(source: LogSource, tails: Tails | undefined) {
    if (!tails) return;
    this.#listening = source.onInstance(() => this.#tell());
    tails.onDirectory = (dir) => {
      if (!this.#watchers.has(dir))
        this.#watchers.set(
          dir,
          watch(dir, { persistent: false }, () => this.#tell()),
        );
    };
  }

  async next(signal: AbortSignal): Promise<void> {
    if (!this.#fresh && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
    }
    this.#fresh = false;
  }

  #tell(): void {
    this.#fresh = true;
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    for (const watcher of this.#watchers.values()) watcher.close();
  }
}

/** One reader for each instance of the selection. */
class Tails implements AsyncDisposable {
  readonly #select: Selection;
  readonly #source: LogSource;
  readonly #tails = new Map<string, Tail>();
  onDirectory: ((dir: string) => void) | undefined;

  constructor(select: Selection, source: LogSource) {
    this.#select = select;
    this.#source = source;
  }

  async find(): Promise<void> {
    for (const { instance, path } of await this.#source.files.find(this.#select)) {
      this.onDirectory?.(dirname(path));
      const tail = this.#tails.get(instance);
      if (!tail) this.#tails.set(instance, new Tail(instance, path, () => this.#source.containerOf(instance)));
      else tail.also(path);
    }
  }

  /** What is there now, the earliest first. */
  async *drain(signal: AbortSignal): AsyncGenerator<LogLine> {
    const tails = [...this.#tails.values()];
    await Promise.all(tails.map((tail) => tail.fill()));
    while (!signal.aborted) {
      const heads = tails.filter((tail) => tail.head);
      if (heads.length === 0) return;
      const first = heads.reduce((a, b) => (timeMs(a.head?.time ?? '') <= timeMs(b.head?.time ?? '') ? a : b));
      const line = first.shift();
      if (line) yield line;
      await first.fill();
    }
  }

  flush(): LogLine[] {
    return [...this.#tails.values()].flatMap((tail) => tail.flush());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#tails.values()].map((tail) => tail.close()));
  }
}

/** Reads one instance's log: the rotated file, then the current one, and on when that is rotated. */
class Tail {
  readonly #instance: string;
  readonly #container: () => string;
  #paths: string[];
  #file: FileHandle | undefined;
  #inode = 0;
  #offset = 0;
  readonly #decoder = new StringDecoder('utf8');
  readonly #joiner = new CriJoiner();
  #lines: LogLine[] = [];
  #at = 0;

  constructor(instance: string, path: string, container: () => string) {
    this.#instance = instance;
    this.#container = container;
    this.#paths = [path];
  }

  /** At the first look the rotated file comes first and the current one after it. */
  also(path: string): void {
    if (!this.#file && this.#inode === 0 && !this.#paths.includes(path)) this.#paths.push(path);
  }

  get head(): LogLine | undefined {
    return this.#lines[this.#at];
  }

  shift(): LogLine | undefined {
    const line = this.#lines[this.#at++];
    if (this.#at >= this.#lines.length) {
      this.#lines = [];
      this.#at = 0;
    }
    return line;
  }

  /** Reads on until there is a line, or nothing more. */
  async fill(): Promise<void> {
    const chunk = Buffer.alloc(chunkBytes);
    while (!this.head) {
      if (!this.#file && !(await this.#open())) return;
      const read = await this.#file?.read(chunk, 0, chunkBytes, this.#offset);
      if (read && read.bytesRead > 0) {
        this.#offset += read.bytesRead;
        this.#lines = this.#joiner.push(this.#decoder.write(chunk.subarray(0, read.bytesRead))).map(this.#line);
      } else if (!(await this.#moveOn())) return;
    }
  }

  flush(): LogLine[] {
    return this.#joiner.flush().map(this.#line);
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  readonly #line = (line: { time: string; stream: 'stdout' | 'stderr'; text: string }): LogLine => ({
    instance: this.#instance,
    container: this.#container(),
    ...line,
  });

  async #open(): Promise<boolean> {
    const [path] = this.#paths;
    if (path === undefined) return false;
    this.#file = await open(path, 'r').catch(() => undefined); // deleted by retention
    if (!this.#file) return this.#paths.length > 1 && this.#paths.shift() !== undefined && this.#open();
    this.#inode = (await this.#file.stat()).ino;
    this.#offset = 0;
    return true;
  }

  /** At the end of a file: to the next one, if there is one. */
  async #moveOn(): Promise<boolean> {
    const [path, next] = this.#paths;
    if (path === undefined) return false;
    if (next === undefined) {
      const now = await stat(path).catch(() => undefined); // deleted
      // Truncated by conmon after a flood, or not changed at all.
      if (now?.ino === this.#inode) {
        if (now.size >= this.#offset) return false;
        this.#offset = 0;
        return true;
      }
      if (!now || path.endsWith('.1')) return false;
      // Written between the last read and the switch to the new file.
      const size = (await this.#file?.stat())?.size ?? 0;
      if (size > this.#offset) return true;
    } else this.#paths.shift();
    await this.close();
    return this.#open();
  }
}
