import { readdirSync, readFileSync } from 'node:fs';

/** Memory of one process in bytes, from /proc/PID/smaps_rollup (proc(5)). */
export interface Memory {
  rss: number;
  /** Pages that several processes have, divided among them: depends on what else runs on the machine. */
  pss: number;
  /** Heap, stacks and the like: this process's alone. */
  anonymous: number;
}

/** Undefined when the process is gone. */
export function memoryOf(pid: number): Memory | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  } catch {
    return undefined;
  }
  const bytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return { rss: bytes('Rss'), pss: bytes('Pss'), anonymous: bytes('Anonymous') };
}

/**
 * What processes of one program hold together: everything of their own, and the program's file (Node's own code, which all
 * of them map) once. Unlike a sum of PSS it does not depend on who else runs that program.
 */
export function together(processes: readonly Memory[]): number {
  const own = processes.reduce((sum, p) => sum + p.anonymous, 0);
  return own + Math.max(0, ...processes.map((p) => p.rss - p.anonymous));
}

/** Every process with one of the words among its arguments, and all their descendants. */
export function processesWith(word: string): number[] {
  const parents = new Map<number, number>();
  const found = new Set<number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word)) found.add(pid);
    } catch {
      // It ended while we looked.
    }
  }
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}
