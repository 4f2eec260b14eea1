/** Time as an effect: everything that asks for the time or sets a timer takes one of these. */
export interface Clock {
  /** Wall-clock time, milliseconds since the Unix epoch. May jump; for timestamps shown to people. */
  now(): number;
  /** Monotonic time in milliseconds from an arbitrary origin. Never jumps; for durations and deadlines. */
  monotonic(): number;
  /** Calls `fn` once after `ms`. Dispose to cancel. Does not keep the process alive. */
  after(ms: number, fn: () => void): Disposable;
  /** Calls `fn` every `ms`. Dispose to stop. Does not keep the process alive. */
  every(ms: number, fn: () => void): Disposable;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
  every(ms, fn) {
    const timer = setInterval(fn, ms).unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  },
};

/** A clock that moves only when a test says so. Timers fire in order of their due time inside {@link FakeClock.advance}. */
export class FakeClock implements Clock {
  #now: number;
  #timers: { due: number; every: number | undefined; fn: () => void }[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  after(ms: number, fn: () => void): Disposable {
    return this.#add(ms, undefined, fn);
  }

  every(ms: number, fn: () => void): Disposable {
    return this.#add(ms, ms, fn);
  }

  /** Moves time forward by `ms`, firing due timers on the way. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter((t) => t.due <= end).sort((a, b) => a.due - b.due)[0];
      if (!next) break;
      this.#now = Math.max(this.#now, next.due);
      if (next.every === undefined) this.#timers = this.#timers.filter((t) => t !== next);
      else next.due += next.every;
      next.fn();
    }
    this.#now = end;
  }

  #add(ms: number, every: number | undefined, fn: () => void): Disposable {
    const timer = { due: this.#now + ms, every, fn };
    this.#timers.push(timer);
    return { [Symbol.dispose]: () => void (this.#timers = this.#timers.filter((t) => t !== timer)) };
  }
}
