import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { EbbError, errnoOf } from '../platform/errors.ts';
import { controlOptions, type ControlOptions } from '../platform/options.ts';
import type { Paths } from '../platform/paths.ts';
import { Client } from './client.ts';
import type { Context } from './context.ts';
import { controlProgram, isAlive, runningControl, type ControlRecord } from './control-process.ts';
import { codes } from './exit.ts';
import { layout } from '../platform/paths.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { paths } from './kube.ts';

/** For the shutdown call to be accepted; the stopping itself takes as long as `--timeout` allows. */
const acceptMs = 5000;
const recheckMs = 50;

/** What `src/control/cleanup.ts` exports. */
interface CleanupModule {
  runCleanup(options: ControlOptions): Promise<void>;
}

/**
 * `ebb down`: asks the control process to end itself, its gateway and all instances, and waits until it is gone. Where it
 * was killed and left gateway or instances behind, clears those away.
 */
export async function down(context: Context, options: { timeout: number }): Promise<void> {
  const { dataDir, runDir } = context.globals;
  const running = runningControl({ dataDir, runDir });
  using progress = context.progress();
  if (running) {
    progress.update('stopping Ebb');
    await askToEnd(running, { dataDir, runDir });
    await untilGone(context, running, options.timeout);
    progress.done('Ebb has stopped');
  } else if (leftBehind(runDir)) {
    if (process.getuid?.() !== 0) {
      throw new EbbError(
        'NeedsRoot',
        403,
        `what a killed Ebb left in ${runDir} needs root to be cleared away: run it with sudo`,
      );
    }
    progress.update('clearing away what a killed Ebb left behind');
    const cleanup = (await import(controlProgram('cleanup').href)) as CleanupModule;
    await cleanup.runCleanup(controlOptions({ dataDir, runDir }));
    progress.done('cleared away what a killed Ebb had left behind');
  } else {
    progress.done(`Ebb is not running on ${dataDir}`);
  }
}

async function askToEnd(running: ControlRecord, where: Paths): Promise<void> {
  try {
    using client = new Client(await loadKubeconfig(layout(where).kubeconfig));
    await client.json('POST', paths.shutdown, { body: {}, timeoutMs: acceptMs });
  } catch (error) {
    if (!(error instanceof EbbError)) throw error;
    // The API does not answer or does not know us: the process itself still listens to signals.
    signal(running);
  }
}

function signal(running: ControlRecord): void {
  if (!isAlive(running)) return;
  try {
    process.kill(running.pid, 'SIGTERM');
  } catch (cause) {
    if (errnoOf(cause) === 'ESRCH') return; // just gone
    throw new EbbError('NeedsRoot', 403, `may not stop the Ebb of pid ${running.pid}: run "ebb down" as root`, {
      cause,
    });
  }
}

/** Not a child of ours, so there is no event to wait for. */
async function untilGone(context: Context, running: ControlRecord, timeoutMs: number): Promise<void> {
  const deadline = context.clock.monotonic() + timeoutMs;
  while (isAlive(running)) {
    if (context.signal.aborted) {
      throw new EbbError(codes.interrupted, 499, 'interrupted');
    }
    if (context.clock.monotonic() > deadline) {
      throw new EbbError(
        codes.timeout,
        504,
        `Ebb (pid ${running.pid}) is still ending after ${timeoutMs / 1000} s: it lets requests in flight finish; call "ebb down" again to go on waiting`,
      );
    }
    await delay(recheckMs);
  }
}

function leftBehind(runDir: string): boolean {
  try {
    return readdirSync(runDir).length > 0;
  } catch {
    return false; // no such directory: nothing has run
  }
}
