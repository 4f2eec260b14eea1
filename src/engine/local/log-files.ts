import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { constants } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { CriJoiner } from './cri-log.ts';

/** Whose log it is. */
export interface LogOwner {
  namespace: string;
  service: string;
  revision: string;
  instance: string;
}

/** conmon truncates a log at this size by itself: only reached by a program that floods it between two looks. */
export const floodBytes = 64 * 2 ** 20;
const rotateBytes = 8 * 2 ** 20;
/** Of instances that are gone, a revision. */
const pastFiles = 20;
const pastBytes = 64 * 2 ** 20;
const lastBytes = 64 * 1024;

/** Where the logs of instances are, how long they get and how long they stay. */
export class LogFiles {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  revisionDir({ namespace, service, revision }: Omit<LogOwner, 'instance'>): string {
    return join(this.dir, namespace, service, revision);
  }

  pathOf(owner: LogOwner): string {
    return join(this.revisionDir(owner), `${owner.instance}.log`);
  }

  async prepare(owner: LogOwner): Promise<string> {
    await mkdir(this.revisionDir(owner), { recursive: true, mode: 0o750 });
    return this.pathOf(owner);
  }

  /** Moves a log that has grown too long aside and makes conmon open a new one; the one before is dropped. */
  async rotate(path: string, conmonControl: string): Promise<boolean> {
    const size = (await stat(path).catch(() => undefined))?.size ?? 0; // not written yet
    if (size < rotateBytes) return false;
    await rename(path, `${path}.1`);
    // A fifo that conmon reads; without O_NONBLOCK this would wait for ever for a conmon that has died.
    const control = await open(conmonControl, constants.O_WRONLY | constants.O_NONBLOCK);
    // conmon's ctl protocol: message type 2 is "reopen the log files"; it writes to the renamed file until then.
    await control.write('2 0 0\n').finally(() => control.close());
    return true;
  }

  /** The last lines of a log, oldest first. */
  async lastLines(path: string, count: number): Promise<string[]> {
    const file = await open(path, 'r').catch(() => undefined); // printed nothing at all
    if (!file) return [];
    try {
      const { size } = await file.stat();
      const start = Math.max(0, size - lastBytes);
      const buffer = Buffer.alloc(size - start);
      await file.read(buffer, 0, buffer.length, start);
      const joiner = new CriJoiner();
      const lines = [...joiner.push(buffer.toString('utf8')), ...joiner.flush()];
      return lines.slice(-count).map((line) => line.text.slice(0, 2000));
    } finally {
      await file.close();
    }
  }

  /** Deletes the oldest logs of instances that are gone, beyond the bounds. */
  async retain(owner: LogOwner, alive: (instance: string) => boolean): Promise<void> {
    const dir = this.revisionDir(owner);
    const past: { path: string; size: number; mtimeMs: number }[] = [];
    for (const name of await readdir(dir).catch(() => [])) {
      const instance = /^(.+)\.log(?:\.1)?$/.exec(name)?.[1];
      if (instance === undefined || alive(instance)) continue;
      const path = join(dir, name);
      const info = await stat(path).catch(() => undefined); // deleted by a cleaner meanwhile
      if (info) past.push({ path, size: info.size, mtimeMs: info.mtimeMs });
    }
    past.sort((a, b) => b.mtimeMs - a.mtimeMs);
    let bytes = 0;
    for (const [i, file] of past.entries()) {
      bytes += file.size;
      if (i >= pastFiles || bytes > pastBytes) await rm(file.path, { force: true });
    }
  }

  /** Log files of a selection, rotated ones first, with the instance each belongs to. */
  async find(select: { namespace?: string; service?: string; revision?: string; instance?: string }) {
    const found: { instance: string; path: string }[] = [];
    for (const namespace of await names(this.dir, select.namespace))
      for (const service of await names(join(this.dir, namespace), select.service))
        for (const revision of await names(join(this.dir, namespace, service), select.revision)) {
          const dir = join(this.dir, namespace, service, revision);
          for (const file of (await names(dir)).toSorted().toReversed()) {
            const instance = /^(.+)\.log(?:\.1)?$/.exec(file)?.[1];
            if (instance !== undefined && (select.instance ?? instance) === instance)
              found.push({ instance, path: join(dir, file) });
          }
        }
    return found;
  }
}

async function names(dir: string, only?: string): Promise<string[]> {
  if (only !== undefined) return [only];
  return readdir(dir).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  });
}
