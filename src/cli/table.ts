import { printable } from './style.ts';

/** One column of a table: its heading and what it shows of a row. `paint` colours the padded text. */
export interface Column<T> {
  heading: string;
  value: (row: T) => string | number | undefined;
  paint?: (text: string, row: T) => string;
}

/**
 * Rows as aligned text, three spaces between columns, as kubectl prints them. What is missing shows as `-`.
 * Control characters and line breaks never reach the terminal.
 */
export function table<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const cells = rows.map((row) =>
    columns.map((column) => {
      const value = column.value(row);
      return value === undefined || value === '' ? '-' : printable(String(value)).replaceAll('\n', ' ');
    }),
  );
  const widths = columns.map((column, i) =>
    Math.max(column.heading.length, ...cells.map((line) => line[i]?.length ?? 0)),
  );
  const lines = [columns.map((column, i) => pad(column.heading, i, widths)).join('   ')];
  rows.forEach((row, r) => {
    lines.push(
      columns
        .map((column, i) => {
          const text = pad(cells[r]?.[i] ?? '', i, widths);
          return column.paint ? column.paint(text, row) : text;
        })
        .join('   '),
    );
  });
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

/** The last column is not padded: long messages would push blanks across the screen. */
function pad(text: string, index: number, widths: readonly number[]): string {
  return index === widths.length - 1 ? text : text.padEnd(widths[index] ?? 0);
}

/** How long ago a timestamp is, in two units at most, as kubectl shows it: `12s`, `5m`, `3h20m`, `4d`. */
export function age(iso: string | undefined, nowMs: number): string | undefined {
  const then = iso === undefined ? Number.NaN : Date.parse(iso);
  if (Number.isNaN(then)) return undefined;
  return span(nowMs - then);
}

/** A time span in two units at most. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return m < 10 && s % 60 ? `${m}m${s % 60}s` : `${m}m`;
  const h = Math.floor(m / 60);
  if (h < 24) return h < 8 && m % 60 ? `${h}h${m % 60}m` : `${h}h`;
  const d = Math.floor(h / 24);
  return d < 8 && h % 24 ? `${d}d${h % 24}h` : `${d}d`;
}
