const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3, // U+00B5, micro sign
  μs: 1e-3, // U+03BC, Greek mu
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * A Go duration in milliseconds, as Knative's annotations hold it: `1m30s` -> 90000, `250ms` -> 250, `0` -> 0, `-1s` -> -1000
 * (https://pkg.go.dev/time#ParseDuration). Undefined when it is none.
 */
export function parseDuration(text: string): number | undefined {
  if (text.length > 64) return undefined;
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (!match) return undefined;
  let total = 0;
  for (const [, number, unit] of (match[2] ?? '').matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(number) * (units[unit ?? ''] ?? 0);
  }
  return match[1] === '-' ? -total : total;
}

/** Milliseconds of what people type for a time span: a Go duration that is not negative, or whole days (`2d`). */
export function parseTimeSpan(text: string): number | undefined {
  const days = /^(\d{1,5})d$/.exec(text)?.[1];
  const ms = days === undefined ? parseDuration(text) : Number(days) * 24 * 3_600_000;
  return ms !== undefined && ms >= 0 ? ms : undefined;
}
