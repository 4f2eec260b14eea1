import { EbbError } from '../platform/errors.ts';
import { isLabelValue, isQualifiedName } from './names.ts';

type Requirement = { key: string; op: 'in' | 'notin'; values: string[] } | { key: string; op: 'exists' | 'absent' };

export type LabelMatcher = (labels: Record<string, string> | undefined) => boolean;

const maxSelectorLength = 16_384;

/**
 * A label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. Undefined for an empty one.
 * Throws EbbError BadRequest naming the part that can't be read.
 */
export function parseLabelSelector(text: string | undefined): LabelMatcher | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  if (text.length > maxSelectorLength) throw bad('label', `${text.slice(0, 40)}...`, 'it is too long');
  const requirements = splitOutsideParentheses(text).map((part) => parseRequirement(part.trim(), text));
  return (labels = {}) => requirements.every((r) => holds(r, labels));
}

/** A field selector: `metadata.name=a,status.phase!=b`, as pairs; the caller knows which fields a kind has. */
export function parseFieldSelector(text: string | undefined): { field: string; op: '=' | '!='; value: string }[] {
  if (text === undefined || text.trim() === '') return [];
  if (text.length > maxSelectorLength) throw bad('field', `${text.slice(0, 40)}...`, 'it is too long');
  return text.split(',').map((part) => {
    const match = /^\s*([\w.[\]/-]+)\s*(==|=|!=)(.*)$/.exec(part);
    if (!match) throw bad('field', text, `"${part}" is not FIELD=VALUE or FIELD!=VALUE`);
    const [, field = '', op, value = ''] = match;
    return { field, op: op === '!=' ? '!=' : '=', value: value.trim() };
  });
}

function parseRequirement(part: string, whole: string): Requirement {
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(part);
  const pair = /^([^\s!=]+)\s*(==|=|!=)\s*(\S*)$/.exec(part);
  const bare = /^(!?)\s*([^\s!=(),]+)$/.exec(part);
  const requirement: Requirement | undefined = set
    ? { key: set[1] ?? '', op: set[2] as 'in' | 'notin', values: (set[3] ?? '').split(',').map((v) => v.trim()) }
    : pair
      ? { key: pair[1] ?? '', op: pair[2] === '!=' ? 'notin' : 'in', values: [pair[3] ?? ''] }
      : bare
        ? { key: bare[2] ?? '', op: bare[1] === '!' ? 'absent' : 'exists' }
        : undefined;
  if (!requirement) throw bad('label', whole, `"${part}" is not KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY or !KEY`);
  if (!isQualifiedName(requirement.key)) throw bad('label', whole, `"${requirement.key}" is not a label key`);
  const wrong = 'values' in requirement ? requirement.values.find((v) => !isLabelValue(v)) : undefined;
  if (wrong !== undefined) throw bad('label', whole, `"${wrong}" is not a label value`);
  return requirement;
}

function holds(requirement: Requirement, labels: Record<string, string>): boolean {
  const value = Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.op) {
    case 'in':
      return value !== undefined && requirement.values.includes(value);
    case 'notin':
      return value === undefined || !requirement.values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
  }
}

function splitOutsideParentheses(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth += 1;
    else if (text[i] === ')') depth -= 1;
    else if (text[i] === ',' && depth <= 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, text.slice(start)];
}

function bad(which: string, text: string, why: string): EbbError {
  return new EbbError('BadRequest', 400, `unable to parse ${which} selector "${text}": ${why}`);
}
