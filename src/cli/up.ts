import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readSync, renameSync, statSync, fstatSync, watch } from 'node:fs';
import { EbbError, messageOf } from '../platform/errors.ts';
import { controlArgs, controlOptions, type ControlOptions } from '../platform/options.ts';
import { layout } from '../platform/paths.ts';
import { Client, interrupted } from './client.ts';
import type { UpOptions } from './commands/up.ts';
import type { Context } from './context.ts';
import { controlProgram, runningControl, type ControlRecord } from './control-process.ts';
import { codes } from './exit.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { paths } from './kube.ts';
import { lastWords } from './last-words.ts';

/** Adopting what a former process left can take a while on a busy machine. */
const readyTimeoutMs = 120_000;
const maxLogBytes = 16 * 1024 * 1024;
const recheckMs = 100;

/**
 * Of the control process. V8 keeps a young generation of 1 MB, which would grow to 64 by itself, and lets the old one
 * grow by little: 35 MB less with one service, 50 MB less with 1,000. What the process does is short-lived and small, so
 * that collecting more often costs nothing to speak of.
 */
const nodeFlags = ['--disable-warning=ExperimentalWarning', '--optimize-for-size'];

/** What `src/control/main.ts` exports. */
interface ControlModule {
  runControl(options: ControlOptions, signal: AbortSignal): Promise<void>;
}

/** `ebb up`: starts the control process, in the foreground or detached, and says when it is ready. */
export async function up(context: Context, raw: UpOptions): Promise<void> {
  const { dataDir, runDir } = context.globals;
  const options = controlOptions({ ...raw, dataDir, runDir });
  if (process.getuid?.() !== 0) {
    throw new EbbError('NeedsRoot', 403, '"ebb up" makes containers and networks, so it needs root: run it with sudo');
  }
  const running = runningControl(options);
  if (running) {
    throw new EbbError(
      'AlreadyRunning',
      409,
      `Ebb is already running on ${dataDir} (pid ${running.pid}, API ${running.api}): stop it with "ebb down"`,
    );
  }
  return options.detach ? detached(context, options) : foreground(context, options);
}

async function foreground(context: Context, options: ControlOptions): Promise<void> {
  const control = (await import(controlProgram('main').href)) as ControlModule;
  const ended = new AbortController();
  const announced = ready(options, AbortSignal.any([context.signal, ended.signal])).then(
    (record) => announce(context, record),
    () => undefined, // it ended before: its own error tells why
  );
  try {
    await control.runControl(options, context.signal);
  } finally {
    ended.abort();
    await announced;
  }
}

async function detached(context: Context, options: ControlOptions): Promise<void> {
  using progress = context.progress();
  progress.update('starting Ebb');
  const begin = context.clock.monotonic();
  const log = openLog(layout(options).controlLog, layout(options).logs);
  const child = spawn(process.execPath, [...nodeFlags, controlProgram('main').pathname, ...controlArgs(options)], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    cwd: '/',
  });
  const ended = new AbortController();
  const exited = once(child, 'exit').then(
    ([code]) => code as number | null,
    (error: unknown) => messageOf(error),
  );
  void exited.then(() => ended.abort());
  try {
    const signal = AbortSignal.any([context.signal, ended.signal]);
    const record = await ready(options, signal);
    progress.done(`Ebb is ready (${Math.round(context.clock.monotonic() - begin)} ms)`);
    progress[Symbol.dispose]();
    announce(context, record);
  } catch (error) {
    progress[Symbol.dispose]();
    if (context.signal.aborted) {
      // Nobody has been told that it runs, so it must not.
      child.kill('SIGTERM');
      await exited;
      context.err('stopped again\n');
      throw interrupted();
    }
    if (ended.signal.aborted) {
      const words = lastWords(readFrom(log.fd, log.startBytes)) ?? `it ended with ${String(await exited)}`;
      throw new EbbError('StartFailed', 500, `Ebb did not start: ${words} (log: ${layout(options).controlLog})`, {
        cause: error,
      });
    }
    throw error;
  } finally {
    closeSync(log.fd);
    child.unref();
  }
}

/** Resolves when the control process has written its record and its API answers. Rejects when the signal aborts. */
async function ready(options: ControlOptions, signal: AbortSignal): Promise<ControlRecord> {
  mkdirSync(options.runDir, { recursive: true, mode: 0o755 });
  const either = AbortSignal.any([signal, AbortSignal.timeout(readyTimeoutMs)]);
  const record = await recorded(options, either);
  using client = new Client(await loadKubeconfig(layout(options).kubeconfig));
  for (;;) {
    try {
      await client.get(paths.status, { signal: either });
      return record;
    } catch (error) {
      if (either.aborted || !(error instanceof EbbError) || error.code !== codes.unreachable) throw error;
      await new Promise((resolve) => setTimeout(resolve, recheckMs));
    }
  }
}

function recorded(options: ControlOptions, signal: AbortSignal): Promise<ControlRecord> {
  return new Promise((resolve, reject) => {
    const done = () => {
      watcher.close();
      clearInterval(timer);
      signal.removeEventListener('abort', stop);
    };
    const check = () => {
      const record = runningControl(options);
      if (!record) return;
      done();
      resolve(record);
    };
    const stop = () => {
      done();
      const late = `Ebb is not ready after ${readyTimeoutMs / 1000} s: see ${layout(options).controlLog}`;
      reject(new EbbError(codes.timeout, 504, late));
    };
    const watcher = watch(options.runDir, check).on('error', () => undefined); // the timer goes on looking
    // inotify does not reach every file system (overlay, network): look now and then as well.
    const timer = setInterval(check, recheckMs * 5);
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop);
    check();
  });
}

function announce(context: Context, record: ControlRecord): void {
  context.err(`gateway ${record.gateway}, API ${record.api}; deploy with "ebb deploy DIR", stop with "ebb down"\n`);
}

/** Appends to the log; one that has grown big is set aside first. */
function openLog(file: string, folder: string): { fd: number; startBytes: number } {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > maxLogBytes) renameSync(file, `${file}.1`);
  const fd = openSync(file, 'a+', 0o600);
  return { fd, startBytes: fstatSync(fd).size };
}

function readFrom(fd: number, start: number): string {
  const buffer = Buffer.alloc(64 * 1024);
  const from = Math.max(start, fstatSync(fd).size - buffer.length);
  return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, from));
}
