import type { KubeObject } from '../resources/index.ts';

export interface PodLogOptions {
  container?: string;
  follow?: boolean;
  sinceSeconds?: number;
  /** Only the last so many lines. */
  tailLines?: number;
  /** Each line begins with its RFC 3339 time. */
  timestamps?: boolean;
  /** Of the container's previous life. */
  previous?: boolean;
}

/**
 * core/v1 Pods, read-only: what runs now, told by the control process from its engine. The API server serves them with
 * selectors, tables, watch and logs as if they were stored.
 */
export interface PodView {
  /** All namespaces when none is given. */
  list(namespace?: string): Promise<KubeObject[]>;
  get(namespace: string, name: string): Promise<KubeObject | undefined>;
  /** Lines with their line ends. Ends when the log does, or when the signal aborts. */
  logs(namespace: string, name: string, options: PodLogOptions, signal: AbortSignal): AsyncIterable<string | Buffer>;
  /** Called when some pod may have come, changed or gone. */
  onChange(listener: () => void): Disposable;
}
