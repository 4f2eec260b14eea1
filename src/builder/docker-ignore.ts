import { EbbError } from '../platform/errors.ts';

/** A parsed .dockerignore. */
export interface DockerIgnore {
  /** 'included' only when a `!` pattern said so; undefined when no pattern matches. Folders may end in `/`. */
  verdict(path: string): 'ignored' | 'included' | undefined;
  /** Whether a `!` pattern could match something below the folder `path`. */
  mayInclude(path: string): boolean;
}

interface Pattern {
  negated: boolean;
  regex: RegExp;
  /** The path components up to the first one with a wildcard. */
  literal: string[];
  wildcard: boolean;
}

/**
 * Parses a .dockerignore (Docker's documentation, "Dockerfile reference, .dockerignore file"): patterns are relative to
 * the folder's root whether or not they start with a slash; `*` and `?` stay within a component; `**` spans any number;
 * a pattern that matches a folder matches all below it; the last match decides.
 */
export function dockerIgnore(text: string): DockerIgnore {
  const patterns = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim())
    .flatMap((line) => parse(line));
  return {
    verdict(path) {
      const bare = path.replace(/\/+$/, '');
      const last = patterns.findLast((pattern) => pattern.regex.test(bare));
      return last && (last.negated ? 'included' : 'ignored');
    },
    mayInclude(path) {
      const folder = path.replace(/\/+$/, '').split('/');
      return patterns.some(({ negated, literal, wildcard }) => {
        if (!negated) return false;
        const common = Math.min(folder.length, literal.length);
        const same = folder.slice(0, common).every((part, i) => part === literal[i]);
        return same && (folder.length <= literal.length || wildcard);
      });
    },
  };
}

function parse(line: string): Pattern[] {
  const negated = line.startsWith('!');
  const parts = (negated ? line.slice(1).trim() : line).split('/').filter((part) => part !== '' && part !== '.');
  const clean: string[] = [];
  // As filepath.Clean: `..` takes back the component before it and cannot leave the root.
  for (const part of parts) {
    if (part === '..') clean.pop();
    else clean.push(part);
  }
  if (clean.length === 0) return [];
  const firstWild = clean.findIndex((part) => /[*?[\\]/.test(part));
  const source = clean.map((part, i) => component(part, i === clean.length - 1)).join('');
  const literal = firstWild < 0 ? clean : clean.slice(0, firstWild);
  try {
    // "(?:/.*)?": everything below a match matches too.
    return [{ negated, regex: new RegExp(`^${source}(?:/.*)?$`, 's'), literal, wildcard: firstWild >= 0 }];
  } catch (cause) {
    throw new EbbError('BadIgnoreFile', 422, `.dockerignore: the pattern "${line}" cannot be understood`, { cause });
  }
}

/** One component as a regular expression, with the slash after it unless it is the last. */
function component(part: string, last: boolean): string {
  if (part === '**') return last ? '.*' : '(?:.*/)?';
  let out = '';
  for (let i = 0; i < part.length; i++) {
    const c = part.charAt(i);
    const close = c === '[' ? part.indexOf(']', i + 2) : -1;
    if (c === '*') {
      // `a**b` inside one component spans folders as well, as in Docker's own matcher.
      const spans = part.charAt(i + 1) === '*';
      while (part.charAt(i + 1) === '*') i++;
      out += spans ? '.*' : '[^/]*';
    } else if (c === '?') {
      out += '[^/]';
    } else if (close > 0) {
      const inner = part.slice(i + 1, close).replaceAll(/[[\]&]/g, '\\$&');
      out += `[${inner.replace(/^!/, '^')}]`;
      i = close;
    } else {
      if (c === '\\' && i + 1 < part.length) i++;
      out += part.charAt(i).replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    }
  }
  return last ? out : `${out}/`;
}
