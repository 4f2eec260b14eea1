/**
 * Work that several callers want at once, done once. It is aborted when the last of them has gone.
 * Finished work is forgotten: this is no cache, and it is bounded by the callers that wait.
 */
export class SharedWork<Key, Result, Progress> {
  readonly #running = new Map<Key, Running<Result, Progress>>();

  /** Joins the work on `key` or starts it. Rejects with the signal's reason when `signal` aborts. */
  async run(
    key: Key,
    work: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>,
    options: { signal?: AbortSignal | undefined; onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<Result> {
    options.signal?.throwIfAborted();
    const running = this.#running.get(key) ?? this.#start(key, work);
    running.waiting += 1;
    if (options.onProgress) running.listeners.add(options.onProgress);
    try {
      return await orAbort(running.result, options.signal);
    } finally {
      running.waiting -= 1;
      if (options.onProgress) running.listeners.delete(options.onProgress);
      if (running.waiting === 0) {
        // A caller that comes now must not join work that is being given up.
        if (this.#running.get(key) === running) this.#running.delete(key);
        running.controller.abort();
      }
    }
  }

  /** Aborts everything and waits until it has wound down. */
  async stop(reason: Error): Promise<void> {
    const all = [...this.#running.values()];
    for (const running of all) running.controller.abort(reason);
    await Promise.allSettled(all.map((running) => running.result));
  }

  #start(key: Key, work: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>) {
    const controller = new AbortController();
    const listeners = new Set<(progress: Progress) => void>();
    const result = work(controller.signal, (progress) => listeners.forEach((listener) => listener(progress)));
    const running: Running<Result, Progress> = { result, controller, listeners, waiting: 0 };
    this.#running.set(key, running);
    const forget = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    result.then(forget, forget);
    return running;
  }
}

interface Running<Result, Progress> {
  result: Promise<Result>;
  controller: AbortController;
  listeners: Set<(progress: Progress) => void>;
  waiting: number;
}

async function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
