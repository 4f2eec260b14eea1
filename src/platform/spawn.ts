import { spawn as nodeSpawn, type StdioOptions } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EbbError, messageOf } from './errors.ts';

export interface SpawnResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface SpawnOptions {
  cwd?: string;
  /** The whole environment of the child; the parent's own when absent. */
  env?: Record<string, string>;
  /** Standard input. A stream is destroyed when the child closes its end first; its errors end the child's input. */
  input?: string | Buffer | Readable;
  signal?: AbortSignal;
  /** Killed with SIGKILL after this long; 60 s unless given. */
  timeoutMs?: number;
  /**
   * 'pipe' collects output (64 KiB tail kept). 'ignore' gives /dev/null: for commands such as an OCI runtime's `create`,
   * whose stdio is inherited by a longer-lived process, so that the end of a pipe would never come.
   */
  stdio?: 'pipe' | 'ignore';
}

/** Process spawning as an effect: passed in, so that tests can see and fake every command. */
export interface Spawner {
  /** Runs to the end. A non-zero exit is a result, not an exception; a command that can't be started throws. */
  run(command: string, args: readonly string[], options?: SpawnOptions): Promise<SpawnResult>;
}

const tailLimit = 64 * 1024;

export const systemSpawner: Spawner = {
  run(command, args, options = {}) {
    return new Promise<SpawnResult>((resolve, reject) => {
      const piped = options.stdio !== 'ignore';
      const stdio: StdioOptions = [
        options.input === undefined ? 'ignore' : 'pipe',
        piped ? 'pipe' : 'ignore',
        piped ? 'pipe' : 'ignore',
      ];
      const child = nodeSpawn(command, args, {
        cwd: options.cwd,
        env: options.env ?? process.env,
        stdio,
        timeout: options.timeoutMs ?? 60_000,
        killSignal: 'SIGKILL',
        ...(options.signal ? { signal: options.signal } : {}),
      });
      let stdout = '';
      let stderr = '';
      child.stdout?.setEncoding('utf8').on('data', (s: string) => (stdout = (stdout + s).slice(-tailLimit)));
      child.stderr?.setEncoding('utf8').on('data', (s: string) => (stderr = (stderr + s).slice(-tailLimit)));
      child.on('error', (cause) =>
        reject(new EbbError('SpawnFailed', 500, `cannot run ${command}: ${messageOf(cause)}`, { cause })),
      );
      // 'exit' when nothing is piped: 'close' would wait for grandchildren that hold the descriptors.
      child.on(piped ? 'close' : 'exit', (code: number | null, signal: NodeJS.Signals | null) =>
        resolve({ code: code ?? 128, stdout, stderr: signal ? `${stderr}(killed by ${signal})` : stderr }),
      );
      if (options.input !== undefined) {
        // EPIPE: the child closed its input early; its exit code tells why.
        child.stdin?.on('error', () => undefined);
        if (child.stdin && options.input instanceof Readable)
          pipeline(options.input, child.stdin).catch(() => undefined);
        else child.stdin?.end(options.input);
      }
    });
  },
};

/** Runs a command that must succeed; throws an {@link EbbError} with the command's own last words otherwise. */
export async function runOrThrow(
  spawner: Spawner,
  command: string,
  args: readonly string[],
  options?: SpawnOptions,
): Promise<SpawnResult> {
  const result = await spawner.run(command, args, options);
  if (result.code !== 0) {
    const words = (result.stderr || result.stdout).trim() || 'no output';
    throw new EbbError('CommandFailed', 500, `${command} ${args[0] ?? ''} failed (exit ${result.code}): ${words}`);
  }
  return result;
}
