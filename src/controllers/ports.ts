import type { Revision } from '../resources/index.ts';

/** Why instances of a revision cannot start or keep dying, as the engine last saw it. */
export interface RuntimeFailure {
  /** Exit code of the container; 128 + n for signal n. */
  code: number;
  /** The engine's word: `Error`, `Completed`, `OOMKilled`, `StartTimeout`, `LivenessFailed` ... */
  reason: string;
  /** One sentence: `exited with code 1`. */
  message: string;
  /** Oldest first. */
  lastLogLines: string[];
  /** Failed starts in a row. */
  failures: number;
}

/** What runs of one revision right now. */
export interface RuntimeView {
  ready: number;
  starting: number;
  standby: number;
  /** Instances wanted by the autoscaler. */
  desired: number;
  /** Set from a failed start or crash until an instance is ready again. */
  failure?: RuntimeFailure | undefined;
  /** An instance of this revision has been ready at least once in the life of this process (or was adopted ready). */
  everReady: boolean;
}

export interface PrepareOptions {
  /** Aborts when the Revision is deleted or the controllers stop. */
  signal: AbortSignal;
  onProgress: (event: { message: string; doneBytes?: number; totalBytes?: number }) => void;
}

export interface DeployOptions {
  /** False: no Route leads here. No standby is kept, minScale does not hold, instances go as their requests end. */
  reachable: boolean;
  /** The revision has once reached its initial scale; it must not be scaled up just because it is deployed again. */
  initialDone: boolean;
}

/** Runs revisions: the engine and the autoscaler behind one small door. */
export interface RevisionRuntime {
  /**
   * Fetches, verifies and unpacks the images. Where `revision.status.containerStatuses` already holds a digest for a
   * container, that digest is used and its tag is never resolved again. Idempotent, also across restarts.
   * Rejects with an EbbError whose message is fit for a condition.
   */
  prepare(revision: Revision, options: PrepareOptions): Promise<{ images: { name: string; digest: string }[] }>;
  /** Lets a prepared revision be scaled from now on. Idempotent: called again when an option changes. Returns at once. */
  deploy(revision: Revision, options: DeployOptions): void;
  /** Stops and forgets everything of the revision (drained first). Resolves when it is gone; fine for an unknown one. */
  retire(namespace: string, name: string): Promise<void>;
  /** A revision that was never deployed has zeros. */
  observe(namespace: string, name: string): RuntimeView;
  /** Called whenever what {@link observe} answers for a revision has changed. */
  onChange(listener: (namespace: string, name: string) => void): Disposable;
  /**
   * Called when a Secret or ConfigMap that a revision refers to has changed: what could not be prepared for want of it is
   * worth another try.
   */
  onReferenceChange(listener: (namespace: string, name: string) => void): Disposable;
}

/** One host name and where its requests go: the same shape as the gateway's RouteEntry. */
export interface PublishedRoute {
  /** Lower case, no port. */
  host: string;
  namespace: string;
  route: string;
  /** Percentages sum to 100. `revision` is `namespace/name`. */
  targets: { revision: string; percent: number }[];
}

/** Takes the route table to the gateway. */
export interface RoutePublisher {
  /** Replaces all hosts of one Route (`namespace/name`) or mapping; an empty list means that it is gone. Returns at once. */
  publish(owner: string, hosts: readonly PublishedRoute[]): void;
}

/** What becomes a Kubernetes Event beside the object it is about. */
export interface EventRecord {
  object: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
  type: 'Normal' | 'Warning';
  /** CamelCase, stable: `Created`, `LatestReadyUpdate`, `RevisionReady` ... */
  reason: string;
  message: string;
}

/** Keeps an event. Must not throw. */
export type RecordEvent = (event: EventRecord) => void;
