import { EbbError } from '../../platform/errors.ts';

const suffixes: Record<string, number> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * The number that a Kubernetes quantity stands for: `500m` is 0.5, `256Mi` is 268435456, `1e3` is 1000.
 * Follows apimachinery's resource.Quantity grammar. Throws EbbError InvalidQuantity, naming `field`.
 */
export function parseQuantity(text: string, field: string): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?$/.exec(text);
  const value = match ? Number(`${match[1]}${match[2] ?? ''}`) * (suffixes[match[3] ?? ''] ?? NaN) : NaN;
  if (!Number.isFinite(value) || value < 0)
    throw new EbbError(
      'InvalidQuantity',
      422,
      `${field} is ${JSON.stringify(text.slice(0, 40))}; it must be a quantity such as 500m, 1, 256Mi or 1Gi`,
    );
  return value;
}

/** `64Mi` for 67108864: bytes in the largest binary unit that divides them, for messages. */
export function formatBytes(bytes: number): string {
  for (const unit of ['Gi', 'Mi', 'Ki']) {
    const size = suffixes[unit] ?? 1;
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}`;
}

/** Milliseconds of a Go-style duration (`5s`, `1m30s`, `500ms`); undefined when it is not one. */
export function parseDuration(text: string | undefined): number | undefined {
  if (text === undefined || !/^(?:\d+(?:\.\d+)?(?:h|ms|m|s))+$/.test(text)) return undefined;
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g))
    total += Number(amount) * (units[unit ?? ''] ?? 0);
  return total;
}
