const aDayMs = 86_400_000;

/**
 * Keeps the process running until disposed. Timers of a {@link Clock} and idle sockets do not: without this, a process that
 * waits for nothing else would end in the middle of its orderly stop.
 */
export function keepAlive(): Disposable {
  const timer = setInterval(() => undefined, aDayMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
