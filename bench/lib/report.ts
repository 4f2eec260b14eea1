/** How every bench tells its results: a table for people, one JSON object for scripts. */

export interface BenchCase {
  case: string;
  metric: string;
  unit: string;
  /** null: could not be measured here. */
  ours: number | null;
  /** null: the peer is not installed, or does not have this metric. */
  peers: Record<string, number | null>;
}

export interface BenchReport {
  bench: string;
  cases: BenchCase[];
  /** Peers that are not installed, and why a script finds null. */
  missing: string[];
  /** What the figures depend on: rounds, seconds, cores, versions. */
  notes: string[];
}

/** Prints the report: as a table, or with `json` as one JSON object on one line. */
export function printReport(report: BenchReport, options: { json: boolean }): void {
  if (options.json) {
    process.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const peers = [...new Set(report.cases.flatMap((c) => Object.keys(c.peers)))];
  const rows = report.cases.map((c) => [
    c.case,
    c.metric,
    shown(c.ours),
    ...peers.map((peer) => {
      const value = c.peers[peer];
      if (value == null) return report.missing.includes(peer) ? 'missing' : '-';
      return c.ours === null || value === 0 ? shown(value) : `${shown(value)} (${(c.ours / value).toFixed(2)}x)`;
    }),
  ]);
  process.stdout.write(`\n${table(['case', 'metric', 'ebb', ...peers], rows)}\n`);
  process.stdout.write('In brackets: ebb divided by the peer.\n');
  for (const peer of report.missing) process.stdout.write(`Missing: ${peer} is not installed.\n`);
  for (const note of report.notes) process.stdout.write(`${note}\n`);
}

/** Aligned columns: the first two to the left, numbers to the right. */
export function table(head: string[], rows: string[][]): string {
  const all = [head, ...rows];
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  return all
    .map((row) =>
      row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

function shown(value: number | null): string {
  if (value === null) return '-';
  if (value >= 1000) return Math.round(value).toLocaleString('en-US');
  return value >= 10 ? value.toFixed(1) : value.toFixed(3);
}

/** The middle value; the mean of the two middle ones of an even number. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle] ?? NaN;
  return ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** The value that `fraction` of the values do not exceed (nearest rank). NaN of none. */
export function percentile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)] ?? NaN;
}

/** Progress, to standard error, so that standard output is the result alone. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
