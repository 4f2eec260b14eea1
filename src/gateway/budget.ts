/** Bytes that many hold together and that have one limit in all. */
export class Budget {
  readonly #max: number;
  #taken = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  get taken(): number {
    return this.#taken;
  }

  /** False if there is not that much left; then nothing was taken. */
  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#max) return false;
    this.#taken += bytes;
    return true;
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#taken -= bytes;
  }
}
