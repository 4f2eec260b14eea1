import type { Cell } from './cell.ts';
import type { LogFiles } from './log-files.ts';
import { isAlive } from './pid.ts';
import type { Sandboxes } from './sandbox.ts';

interface SweepContext {
  exits: { codeOf(id: string): Promise<number | undefined> };
  logs: LogFiles;
  sandboxes: Sandboxes;
}

/** Looks at which a process may be gone before its exit code must be there: conmon needs a moment to write it. */
const patience = 2;
/** A standby serves nobody: it is looked at in one of so many sweeps. A full budget of them would cost 0.4 % of a core. */
const standbyEvery = 10;

/**
 * Finds what no event tells of: instances whose supervisor was killed (nothing takes their output any more, so they are
 * replaced), ends that nobody noted down, logs that have grown too long.
 *
 * @param turn counts the sweeps: standbys take turns, the others are looked at every time
 */
export async function sweep(
  cells: readonly Cell[],
  turn: number,
  { exits, logs, sandboxes }: SweepContext,
): Promise<void> {
  for (const [i, cell] of cells.entries()) {
    if (cell.phase === 'creating' || !cell.process) continue;
    if (cell.phase === 'standby' && cell.missed === 0 && (i + turn) % standbyEvery !== 0) continue;
    if (!cell.alive) {
      const code = await exits.codeOf(cell.id);
      if (code !== undefined) cell.exited(code);
      else if (++cell.missed >= patience) cell.exited(undefined);
      continue;
    }
    cell.missed = 0;
    if (cell.phase === 'ending') continue;
    if (!cell.conmon || !isAlive(cell.conmon)) {
      void cell.stop({ reason: 'Lost', message: 'its supervisor (conmon) was killed; it was replaced' });
      continue;
    }
    // Its supervisor may have been killed this very moment: the next look finds out.
    if (cell.phase !== 'standby') await logs.rotate(cell.logPath, sandboxes.controlOf(cell.id)).catch(() => false);
  }
}
