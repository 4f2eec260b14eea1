import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';

export { freePort } from '../../test/support/ebb.ts';

/** Where a program is, or undefined. */
export function which(program: string): string | undefined {
  const found = spawnSync('sh', ['-c', `PATH=$PATH:/usr/sbin:/usr/local/go/bin command -v ${program}`], {
    encoding: 'utf8',
  });
  return found.status === 0 ? found.stdout.trim() : undefined;
}

/** A program that was started for a bench; ends with its scope. */
export class Program implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;
  #output = '';

  /** `core`: pinned there with all its threads; undefined leaves it free. */
  constructor(
    command: string,
    args: readonly string[],
    options: { core?: number | undefined; env?: Record<string, string> } = {},
  ) {
    this.#name = command;
    const pinned = options.core !== undefined && which('taskset') !== undefined;
    const [program, all] = pinned ? ['taskset', ['-c', String(options.core), command, ...args]] : [command, args];
    this.#child = spawn(program, all, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    const keep = (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-4000));
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
    this.#child.on('error', (error) => (this.#output += error.message));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when something accepts connections on the port; throws with the program's last words if it ends before. */
  async listening(port: number): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      if (this.#child.exitCode !== null) break;
      if (await accepts(port)) return;
      await new Promise<void>((resolve) => void setTimeout(resolve, 10));
    }
    throw new Error(`${this.#name} does not listen on port ${port}: ${this.#output}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    this.#child.kill('SIGTERM');
    const stubborn = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    await once(this.#child, 'exit');
    clearTimeout(stubborn);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** CPU time that a process has used so far, all threads, user and system: microseconds. proc(5): fields 14 and 15, 100 a second. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}
