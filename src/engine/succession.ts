/**
 * The places of a workload's instances that failed and have no successor yet. An instance is never started again: another
 * takes its place, and says how many failed there before it, which is what people know as the restarts of a container.
 */
export class Succession {
  #vacant: number[] = [];

  /** An instance with so many before it has failed. */
  failed(restarts: number): void {
    this.#vacant.push(restarts + 1);
  }

  /** For an instance that is started now. */
  next(): number {
    return this.#vacant.shift() ?? 0;
  }

  /** Only so many places are still to be filled: those of the instances that failed last go first. */
  limit(places: number): void {
    if (this.#vacant.length > places) this.#vacant.length = Math.max(0, places);
  }
}
