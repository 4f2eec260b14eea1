const bucketMs = 1000;

/**
 * A metric over time in a ring of one-second buckets, as Knative's autoscaler keeps it: what is added to one second is
 * summed, a second without data counts 0, and an average reaches back no further than to the first value ever added.
 * Memory is one number a second of the longest window.
 */
export class MetricWindow {
  readonly #buckets: Float64Array;
  #firstSecond: number | undefined;
  /** The latest second that the ring holds; seconds between it and now are gaps. */
  #lastSecond = 0;

  /** @param longestMs the longest window that will be asked for, at least one second */
  constructor(longestMs: number) {
    this.#buckets = new Float64Array(Math.max(1, Math.ceil(longestMs / bucketMs)));
  }

  get longestMs(): number {
    return this.#buckets.length * bucketMs;
  }

  /** Adds `value` (metric times seconds) to the second of `atMs`. What is older than the ring is ignored. */
  add(atMs: number, value: number): void {
    const second = Math.floor(atMs / bucketMs);
    this.#firstSecond ??= second;
    if (second > this.#lastSecond) this.#clear(second);
    if (second <= this.#lastSecond - this.#buckets.length || second < this.#firstSecond) return;
    const at = second % this.#buckets.length;
    this.#buckets[at] = (this.#buckets[at] ?? 0) + value;
  }

  /** Mean over the last `windowMs`, or since the first value if that is more recent; 0 where there is none. */
  average(nowMs: number, windowMs: number): number {
    if (this.#firstSecond === undefined) return 0;
    const now = Math.floor(nowMs / bucketMs);
    const size = Math.min(this.#buckets.length, Math.max(1, Math.round(windowMs / bucketMs)));
    const span = Math.min(size, now - this.#firstSecond + 1);
    if (span <= 0) return 0;
    let sum = 0;
    const from = Math.max(now - span + 1, this.#lastSecond - this.#buckets.length + 1);
    for (let second = from; second <= Math.min(now, this.#lastSecond); second++) {
      sum += this.#buckets[second % this.#buckets.length] ?? 0;
    }
    return sum / span;
  }

  /** Forgets everything: the next value is the first. */
  reset(): void {
    this.#buckets.fill(0);
    this.#firstSecond = undefined;
    this.#lastSecond = 0;
  }

  #clear(second: number): void {
    const from = Math.max(this.#lastSecond + 1, second - this.#buckets.length + 1);
    for (let s = from; s <= second; s++) this.#buckets[s % this.#buckets.length] = 0;
    this.#lastSecond = second;
  }
}
