import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface WrkResult {
  requests: number;
  durationUs: number;
  p50Us: number;
  p99Us: number;
  /** Connections and requests that failed, and answers other than 2xx and 3xx. */
  failed: number;
}

/** Loads a URL with one thread of wrk, pinned to `core`. Throws if anything failed: such a figure means nothing. */
export async function wrk(options: {
  url: string;
  host: string;
  connections: number;
  seconds: number;
  core: number | undefined;
}): Promise<WrkResult> {
  const script = fileURLToPath(new URL('./wrk-report.lua', import.meta.url));
  const args = [
    '-t1',
    `-c${options.connections}`,
    `-d${options.seconds}s`,
    '-H',
    `Host: ${options.host}`,
    '-s',
    script,
    options.url,
  ];
  const pin = options.core === undefined ? [] : ['taskset', '-c', String(options.core)];
  const [command = 'wrk', ...rest] = [...pin, 'wrk', ...args];
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await once(child, 'close');
  const line = /^RESULT (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk gave no result: ${output}`);
  const result = JSON.parse(line) as WrkResult;
  if (result.failed > 0) throw new Error(`${result.failed} requests to ${options.url} failed`);
  return result;
}
