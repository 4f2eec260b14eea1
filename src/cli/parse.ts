import { InvalidArgumentError } from 'commander';
import { parseDuration, parseTimeSpan } from '../platform/duration.ts';
import { memoryBytes } from '../platform/quantity.ts';

/** Commander shows the message behind the option and its value, and ends with exit code 2. */
function must(rule: string): never {
  throw new InvalidArgumentError(`It must be ${rule}.`);
}

/** A whole number of at least `min` and at most `max`. */
export const whole =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : must(`a whole number from ${min} to ${max}`);
  };

/** A time span such as `10s`; the text itself is kept, since it goes into an annotation. */
export const spanText =
  (minMs: number, maxMs: number, range: string) =>
  (text: string): string => {
    const ms = parseDuration(text);
    return ms !== undefined && ms >= minMs && ms <= maxMs ? text : must(`a time ${range}, such as 30s or 5m`);
  };

/** A time span in milliseconds. */
export function spanMs(text: string): number {
  return parseTimeSpan(text) ?? must('a time such as 30s, 5m or 1h');
}

export function memoryText(text: string): string {
  return !((memoryBytes(text) ?? 0) > 0) ? must('a size such as 256Mi or 1Gi') : text;
}

/** Kubernetes CPU: `500m`, `0.5`, `2`. */
export function cpuText(text: string): string {
  return /^(\d{1,6}m|\d{1,4}(\.\d{1,3})?)$/.test(text) && !/^0*(\.0*)?m?$/.test(text)
    ? text
    : must('a number of CPUs such as 0.5 or 500m');
}

/** Collects `--env KEY=VALUE`; `KEY-` takes the variable out. */
export function envPair(text: string, previous: Record<string, string | null> = {}): Record<string, string | null> {
  const gone = /^([A-Za-z_][A-Za-z0-9_.-]*)-$/.exec(text);
  if (gone?.[1]) return { ...previous, [gone[1]]: null };
  const pair = /^([A-Za-z_][A-Za-z0-9_.-]*)=([\s\S]*)$/.exec(text);
  if (!pair?.[1]) return must('KEY=VALUE, or KEY- to take KEY out');
  return { ...previous, [pair[1]]: pair[2] ?? '' };
}

/** Collects `--annotation example.com/key=value`. */
export function annotationPair(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const pair = /^([A-Za-z0-9][A-Za-z0-9./_-]*)=([\s\S]*)$/.exec(text);
  return pair?.[1] ? { ...previous, [pair[1]]: pair[2] ?? '' } : must('KEY=VALUE');
}

/** Collects an option that may be given several times. */
export function several(text: string, previous: string[] = []): string[] {
  return [...previous, text];
}

/** Collects `-H 'Name: value'`. */
export function headerPair(text: string, previous: [string, string][] = []): [string, string][] {
  const pair = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)$/.exec(text);
  return pair?.[1] ? [...previous, [pair[1], pair[2] ?? '']] : must('"Name: value"');
}
