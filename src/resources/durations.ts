export { parseDuration } from '../platform/duration.ts';

/** How long ago, as kubectl's AGE column shows it: `45s`, `3m20s`, `26h`, `4d3h`, `2y10d` (apimachinery's HumanDuration). */
export function humanDuration(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < -1) return '<invalid>';
  if (s < 0) return '0s';
  const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86_400)];
  const two = (a: number, au: string, b: number, bu: string) => (b === 0 ? `${a}${au}` : `${a}${au}${b}${bu}`);
  if (s < 120) return `${s}s`;
  if (m < 10) return two(m, 'm', s % 60, 's');
  if (m < 180) return `${m}m`;
  if (h < 8) return two(h, 'h', m % 60, 'm');
  if (h < 48) return `${h}h`;
  if (h < 24 * 8) return two(d, 'd', h % 24, 'h');
  if (d < 365 * 2) return `${d}d`;
  if (d < 365 * 8) return two(Math.floor(d / 365), 'y', d % 365, 'd');
  return `${Math.floor(d / 365)}y`;
}
