import type { RevisionSpec } from '../resources/index.ts';

/** `namespace/revision`: what the engine runs instances of. */
export type WorkloadKey = `${string}/${string}`;

/** One revision, resolved: everything an engine needs to run it. */
export interface Workload {
  namespace: string;
  revision: string;
  service: string;
  configuration: string;
  /** uid of the Revision: a workload of the same key and another uid is another workload. */
  uid: string;
  spec: RevisionSpec;
  annotations: Record<string, string>;
}

export interface Prepared {
  /** Per container, in the order of the spec: `repository@sha256:...`. */
  images: { name: string; digest: string }[];
}

/** A variable of a container, from wherever it comes. */
export interface ResolvedVariable {
  name: string;
  value: string;
  /** `$(NAME)` in it stands for variables before it; absent for what comes from Secrets and ConfigMaps. */
  expand?: true;
}

export interface VolumeFile {
  /** Relative, normalized, without `..`. */
  path: string;
  mode: number;
  content: Buffer;
}

/** What a workload's containers get from Secrets and ConfigMaps, as these are at one time. */
export interface References {
  /** Tells one state of them from another, and nothing of what they hold. */
  version: string;
  /** By container, in the order in which they are set; literal ones too. */
  env: ReadonlyMap<string, readonly ResolvedVariable[]>;
  /** By volume, for those that hold files. */
  files: ReadonlyMap<string, readonly VolumeFile[]>;
}

/**
 * Asked when a workload is prepared and whenever a sandbox is made; the answer is never kept. Throws EbbError
 * ReferenceMissing or ReferenceInvalid with a sentence that says what is missing.
 */
export type ResolveReferences = (workload: Workload) => Promise<References>;

export type PrepareProgress = (event: { message: string; doneBytes?: number; totalBytes?: number }) => void;

/** It could not be made: a Secret or ConfigMap that it needs is missing. Kubernetes' word for it. */
type ConfigError = 'CreateContainerConfigError';

/** Why an instance ended, in words that a user reads. */
export interface ExitReport {
  /** Exit code; 128 + n for signal n. */
  code: number;
  reason: 'Completed' | 'Error' | 'OOMKilled' | 'StartTimeout' | 'LivenessFailed' | ConfigError | 'Stopped' | 'Lost';
  /** One sentence: `exited with code 1`, `killed: used more than its 64Mi of memory`. */
  message: string;
  /** The last lines that the container printed, oldest first; at most 20. */
  lastLogLines: string[];
  atMs: number;
}

/**
 * The life of an instance. `standby`: sandbox created, the app's process not started. `starting`: process started,
 * not ready. `ready`: readiness passed. `draining`: gets no new requests. `stopping`: SIGTERM sent. `exited`: gone.
 */
export type InstanceState =
  | { state: 'standby' }
  | { state: 'starting'; sinceMs: number }
  | { state: 'ready'; sinceMs: number }
  | { state: 'draining'; sinceMs: number }
  | { state: 'stopping'; sinceMs: number }
  | { state: 'exited'; exit: ExitReport };

export interface Instance {
  /** Unique for ever; a DNS label (it names the Pod): `<revision>-deployment-<random>`. */
  id: string;
  workload: WorkloadKey;
  service: string;
  /** Where the gateway connects. Undefined before the network exists. */
  address: { host: string; port: number } | undefined;
  createdAtMs: number;
  startedAtMs: number | undefined;
  /** How many instances failed in its place before it, one after the other; 0 for one that was asked for. */
  restarts: number;
  /** Last known state; a new object on each change. */
  status: InstanceState;
}

export type EngineEvent =
  | { type: 'instance'; instance: Instance }
  /** The instance is forgotten; its id is never used again. */
  | { type: 'removed'; instance: Instance }
  /** Instances cannot be made or kept: image gone, start keeps failing. `retryAtMs` says when the engine tries next. */
  | { type: 'failing'; workload: WorkloadKey; exit: ExitReport; failures: number; retryAtMs: number };

export interface LogLine {
  instance: string;
  container: string;
  /** RFC 3339 with nanoseconds. */
  time: string;
  stream: 'stdout' | 'stderr';
  text: string;
}

export interface LogOptions {
  /** A whole workload (past instances too, while their logs are kept), a service, or one instance. */
  of: { workload: WorkloadKey } | { namespace: string; service: string } | { instance: string };
  follow?: boolean;
  sinceMs?: number;
  tailLines?: number;
  signal: AbortSignal;
}

export interface InstanceStats {
  instance: string;
  atMs: number;
  /** CPU time used since start, nanoseconds. */
  cpuNanos: number;
  memoryBytes: number;
  pids: number;
}

/** How many of a workload there should be: running, and created-but-not-started beside them. */
export interface Scale {
  instances: number;
  standby: number;
}

/**
 * Runs instances of revisions. Declarative: the caller says what should be, the engine makes it so, keeps it so
 * (replacing what dies, with exponential back-off), and tells what happened through events.
 * One contract suite is run against every implementation and the fake.
 */
export interface Engine extends AsyncDisposable {
  readonly name: 'local' | 'kubernetes' | 'fake';
  /** What runs the containers, for people: `crun 1.8.1`. */
  readonly runtime: string;
  /** Finds again what a former process left running, removes what is broken or unknown. Called once, before anything else. */
  adopt(known: readonly Workload[]): Promise<void>;
  /**
   * Makes ready all that a start needs but the instance itself: image resolved, fetched, verified, unpacked.
   * Idempotent. Throws EbbError (ImageNotFound, ImageWrongPlatform, ImageCorrupt, RegistryUnauthorized,
   * RegistryUnreachable ...) with a message fit for a condition.
   */
  prepare(workload: Workload, options?: { signal?: AbortSignal; onProgress?: PrepareProgress }): Promise<Prepared>;
  /**
   * Sets the wanted scale of a prepared workload. Returns at once. Raising from zero starts a standby synchronously:
   * no image, database or network work stands between this call and the app's first instruction.
   */
  scale(key: WorkloadKey, want: Scale): void;
  /**
   * Secrets or ConfigMaps that the workload refers to have changed: standbys made of their former state are replaced, and
   * a workload that waits after failures tries again at once. What runs is let run. False, and nothing is done, when
   * something that it needs is missing or it was never prepared.
   */
  renew(key: WorkloadKey): Promise<boolean>;
  /** Stops everything of the workload (drained first) and forgets it. */
  remove(key: WorkloadKey): Promise<void>;
  instances(key?: WorkloadKey): Instance[];
  on(listener: (event: EngineEvent) => void): Disposable;
  logs(options: LogOptions): AsyncIterable<LogLine>;
  stats(): Promise<InstanceStats[]>;
  /** Ends the engine's own work; instances go on running, to be adopted by the next process. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Stops and removes every instance, sandbox, mount, network and cgroup. */
  shutdown(): Promise<void>;
}

/**
 * Asked before an instance is stopped: resolves when no request is in flight on it any more, or when the signal aborts.
 * The control process answers through the gateway.
 */
export type Drain = (instance: Instance, signal: AbortSignal) => Promise<void>;
