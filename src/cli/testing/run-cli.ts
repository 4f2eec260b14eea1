import { Readable } from 'node:stream';
import { systemClock } from '../../platform/clock.ts';
import { run } from '../run.ts';

export interface Ran {
  code: number;
  out: string;
  err: string;
}

/** Runs `ebb` in this process, without a terminal. `until` ends it as Ctrl-C does. */
export async function runCli(
  argv: readonly string[],
  options: { dataDir?: string; stdin?: string; signal?: AbortSignal; tty?: boolean; env?: Record<string, string> } = {},
): Promise<Ran> {
  const ran: Ran = { code: -1, out: '', err: '' };
  const isTTY = options.tty ?? false;
  ran.code = await run([...argv, ...(options.dataDir ? ['--data-dir', options.dataDir] : [])], {
    stdin: Readable.from([Buffer.from(options.stdin ?? '')]),
    stdout: { isTTY, columns: 100, write: (text) => ((ran.out += String(text)), true) },
    stderr: { isTTY, columns: 100, write: (text) => ((ran.err += String(text)), true) },
    env: options.env ?? {},
    cwd: process.cwd(),
    clock: systemClock,
    signal: options.signal ?? new AbortController().signal,
  });
  return ran;
}
