const unitsMs: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};

/**
 * Milliseconds of a Go duration (`10s`, `1m30s`, `1.5h`, `0`), as Knative's annotations and command-line flags hold them
 * (https://pkg.go.dev/time#ParseDuration). Undefined if it is not one, or negative.
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (text.length > 64 || !/^\+?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)) {
    ms += Number(amount) * (unitsMs[unit] ?? Number.NaN);
  }
  return Number.isFinite(ms) ? ms : undefined;
}
