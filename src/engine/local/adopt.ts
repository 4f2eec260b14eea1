import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Clock } from '../../platform/clock.ts';
import { errnoOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Workload } from '../engine.ts';
import { Cell, type CellContext } from './cell.ts';
import type { Cgroups } from './cgroup.ts';
import { readAllFacts, type Facts } from './facts.ts';
import type { Network } from './network.ts';
import type { ProcessRef } from './pid.ts';
import type { Sandboxes, SandboxRoots } from './sandbox.ts';
import { settingsOf } from './settings.ts';

interface AdoptContext {
  roots: SandboxRoots;
  network: Network;
  sandboxes: Sandboxes;
  cgroups: Cgroups;
  context: CellContext;
  logger: Logger;
}

export interface AdoptedSandbox {
  cell: Cell;
  process: ProcessRef;
  conmon: ProcessRef | undefined;
  running: boolean;
}

/**
 * Finds what former processes left of this Ebb. Sandboxes of known workloads (by uid) are returned; everything else,
 * half-made or orphaned, is taken apart: containers, mounts, networks, control groups, folders.
 */
export async function adoptSandboxes(known: readonly Workload[], c: AdoptContext): Promise<AdoptedSandbox[]> {
  const workloads = new Map(known.map((w) => [w.uid, w]));
  const all = await readAllFacts(c.roots.sandboxes);
  await halfMade(
    all.map(({ id }) => c.sandboxes.dirOf(id)),
    c.context.clock,
  );
  const states = await c.sandboxes.states(all.map(({ id }) => id));
  const kept: (Omit<AdoptedSandbox, 'cell'> & { facts: Facts; workload: Workload })[] = [];
  const orphans: { id: string; facts: Facts | undefined }[] = [];
  for (const { id, facts } of all) {
    const state = states.get(id);
    const workload = facts && workloads.get(facts.uid);
    const usable = state?.process && (state.status === 'running' || state.status === 'created') && facts?.net;
    if (!usable || !state.process || !facts || !workload) {
      orphans.push({ id, facts });
      continue;
    }
    const conmon = await c.sandboxes.conmonOf(id);
    kept.push({ facts, workload, process: state.process, conmon, running: state.status === 'running' });
  }
  await c.network.open(kept.map(({ facts }) => facts.net));
  for (const { id, facts } of orphans) {
    c.logger.info({ instance: id }, 'removing a sandbox that nobody owns any more');
    await c.sandboxes.destroy(id, facts?.net || undefined);
  }
  await removeStrays(new Set(kept.map(({ facts }) => facts.id)), c);
  return kept.map(({ facts, workload, process, conmon, running }) => {
    const settings = settingsOf(workload);
    const cell = new Cell(c.context, workload, facts, { settings, stopSignal: 'SIGTERM' });
    return { cell, process, conmon, running };
  });
}

/** A former process may have been killed while a sandbox was made: what makes it goes on, and must not be cut short. */
async function halfMade(dirs: readonly string[], clock: Clock): Promise<void> {
  const deadline = clock.monotonic() + 3000;
  for (const dir of dirs)
    while (clock.monotonic() < deadline && (await stat(join(dir, 'sync')).catch(() => undefined)))
      // Not the clock's timer, which does not keep the process alive: at start nothing else may do so yet.
      await setTimeout(20);
}

/** Processes and control groups of this Ebb without a sandbox folder. */
async function removeStrays(kept: ReadonlySet<string>, { cgroups, roots }: AdoptContext): Promise<void> {
  for (const id of await cgroups.instances()) {
    if (kept.has(id)) continue;
    for (const pid of await cgroups.pids(id)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if (errnoOf(error) !== 'ESRCH') throw error; // gone already
      }
    }
    await cgroups.remove(id);
    await rm(join(roots.oci, id), { recursive: true, force: true });
  }
}
