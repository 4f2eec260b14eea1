import { EbbError } from '../platform/errors.ts';

const maxLength = 8192;

/**
 * How to start a command line of a Procfile or package.json: as it is when it needs no shell, else through `sh -c`.
 *
 * Where the shell has nothing left to do after the last command, `exec` makes that command take its place, so that it
 * is the one that gets SIGTERM. Throws EbbError BadCommand.
 */
export function argvOf(line: string): string[] {
  const text = line.trim();
  if (text.length > maxLength || text.includes('\0')) {
    throw new EbbError(
      'BadCommand',
      422,
      `the command "${text.slice(0, 60)}..." has more than ${maxLength} characters or a NUL: put it into a script`,
    );
  }
  return simpleWords(text) ?? ['/bin/sh', '-c', withExec(text)];
}

/** What the words of a command may be made of without meaning something to the shell. */
const special = new Set('$`;&|<>()*?[]{}~#!\n');
const assignment = /^[A-Za-z_][A-Za-z0-9_]*=/;
/** Cannot follow `exec`. */
const shellWords = new Set(
  '. : break case cd continue eval exec exit export for if read readonly return set shift test [ times trap umask unset until wait while { ! alias command ulimit'.split(
    ' ',
  ),
);

/** Commands whose end is a word of its own, which `exec` must not come before. */
const compound = /(^|[;&]\s*)(if|for|while|until|case|function)\s/;

/** The words of a command that needs no shell (quotes are taken off), or undefined. */
export function simpleWords(text: string): string[] | undefined {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === "'" || c === '"') {
      const end = text.indexOf(c, i + 1);
      if (end < 0) return undefined;
      const inner = text.slice(i + 1, end);
      if (c === '"' && /[$`\\]/.test(inner)) return undefined;
      word = (word ?? '') + inner;
      i = end;
    } else if (c === '\\' || special.has(c)) {
      return undefined;
    } else if (c === ' ' || c === '\t') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (word !== undefined) words.push(word);
  const first = words[0];
  return first === undefined || assignment.test(first) || shellWords.has(first) ? undefined : words;
}

function withExec(text: string): string {
  const cut = compound.test(text) ? undefined : lastSeparator(text);
  if (cut === undefined) return text;
  const before = text.slice(0, cut);
  const last = text.slice(cut).trimStart();
  const first = last.split(/\s/)[0] ?? '';
  if (last === '' || shellWords.has(first)) return text;
  return `${before}${before ? ' ' : ''}exec ${assignment.test(first) ? 'env ' : ''}${last}`;
}

/** Where the last of commands joined by `&&` or `;` starts; undefined when the line is more complicated than that. */
function lastSeparator(text: string): number | undefined {
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === '\\') i++;
    else if (c === "'" || c === '"') {
      i = closing(text, i);
      if (i < 0) return undefined;
    } else if (c === ';' || (c === '&' && text.charAt(i + 1) === '&')) {
      i += c === '&' ? 1 : 0;
      start = i + 1;
    } else if ('&|(){}`\n#'.includes(c) && !(c === '{' && text.charAt(i - 1) === '$') && !inBraces(text, i)) {
      return undefined;
    }
  }
  return start;
}

/** Whether the `}` at `at` ends a `${NAME}`. */
function inBraces(text: string, at: number): boolean {
  return text.charAt(at) === '}' && /\$\{[A-Za-z0-9_:?=+-]*$/.test(text.slice(0, at));
}

function closing(text: string, open: number): number {
  const quote = text.charAt(open);
  for (let i = open + 1; i < text.length; i++) {
    if (quote === '"' && text.charAt(i) === '\\') i++;
    else if (text.charAt(i) === quote) return i;
  }
  return -1;
}
