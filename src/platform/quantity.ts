const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const unitsBytes: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Milliseconds of what people type for a time span: `10s`, `1m30s`, `1.5h`, `250ms`, `2d`. Undefined if it is not one. */
export function durationMs(text: string): number | undefined {
  if (text.length > 64 || !/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(amount) * (unitsMs[unit] ?? Number.NaN);
  }
  return Number.isFinite(ms) ? ms : undefined;
}

/** Bytes of a Kubernetes memory quantity: `256Mi`, `1G`, `1073741824`. Undefined if it is not one. */
export function quantityBytes(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text);
  const unit = unitsBytes[match?.[2] ?? ''];
  if (!match || unit === undefined) return undefined;
  return Math.round(Number(match[1]) * unit);
}
