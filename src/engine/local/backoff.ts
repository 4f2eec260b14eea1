/** An instance that was ready this long has shown that it can run: its end starts the counting anew. */
export const stableMs = 30_000;
const firstMs = 1000;
const longestMs = 300_000;

/** Milliseconds to wait after the `failures`th failure in a row: 1 s, 2 s, 4 s ... 5 min. None, no wait. */
export function backoffMs(failures: number): number {
  return failures <= 0 ? 0 : Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 20));
}
