const suffixes: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
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
 * A Kubernetes quantity as a number: `500m` -> 0.5, `256Mi` -> 268435456, `1e3` -> 1000. Undefined when it is none.
 * Grammar: apimachinery's resource.Quantity; a decimal exponent and a suffix exclude each other.
 */
export function parseQuantity(text: string | number): number | undefined {
  if (typeof text === 'number') return Number.isFinite(text) ? text : undefined;
  const match = /^([+-]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30}))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?$/.exec(text);
  if (!match) return undefined;
  const [, number = '', exponent, suffix = ''] = match;
  const value = Number(exponent === undefined ? number : `${number}e${exponent}`) * (suffixes[suffix] ?? 1);
  return Number.isFinite(value) ? value : undefined;
}

/** A CPU quantity in thousandths of a core, rounded up as Kubernetes does: `0.5` -> 500. */
export function cpuMillis(text: string | number): number | undefined {
  const cores = parseQuantity(text);
  // 0.1 * 1000 may come out a hair above 100: rounded to a millionth first.
  return cores === undefined ? undefined : Math.ceil(Math.round(cores * 1e9) / 1e6);
}

/** A memory quantity in bytes, rounded up: `64Mi` -> 67108864. */
export function memoryBytes(text: string | number): number | undefined {
  const bytes = parseQuantity(text);
  return bytes === undefined ? undefined : Math.ceil(bytes);
}

/** Bytes in the largest binary unit that divides them, for messages: 67108864 -> `64Mi`. */
export function formatBytes(bytes: number): string {
  for (const unit of ['Gi', 'Mi', 'Ki']) {
    const size = suffixes[unit] ?? 1;
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}`;
}
