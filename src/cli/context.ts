import type { Readable } from 'node:stream';
import type { Clock } from '../platform/clock.ts';
import type { Client } from './client.ts';
import type { OutputFormat } from './output.ts';
import type { Progress } from './progress.ts';
import type { Style } from './style.ts';

/** The options that every command knows, before or after its name. */
export interface GlobalOptions {
  dataDir: string;
  runDir: string;
  /** Path that was asked for by option or environment; the data directory's own otherwise. */
  kubeconfig: string | undefined;
  namespace: string | undefined;
  output: OutputFormat;
}

/** A terminal or a pipe, as much of it as the CLI writes to. */
export interface OutStream {
  write(text: string | Uint8Array): boolean;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

/** The world around one call of `ebb`: everything that a command may touch comes in here. */
export interface Surroundings {
  stdin: Readable;
  stdout: OutStream;
  stderr: OutStream;
  env: Record<string, string | undefined>;
  cwd: string;
  clock: Clock;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
}

/** What a command works with. */
export interface Context extends Surroundings {
  globals: GlobalOptions;
  out(text: string): void;
  err(text: string): void;
  /** Style for standard output. */
  style: Style;
  /** A connection to the API. Throws EbbError Unreachable when there is no kubeconfig to find it by. */
  client(): Promise<Client>;
  /** The namespace that was asked for, else the kubeconfig's, else `default`. */
  namespace(): Promise<string>;
  progress(): Progress;
}
