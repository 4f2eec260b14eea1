import { createRequire } from 'node:module';
import { posix } from 'node:path';
import type { Ignore, Options } from 'ignore';
import { dockerIgnore, type DockerIgnore } from './docker-ignore.ts';

// The package is CommonJS whose types and values disagree under `nodenext`; `require` gives the function itself.
const ignore = createRequire(import.meta.url)('ignore') as (options?: Options) => Ignore;

/** Which files of a source folder stay out of the image. Paths are relative to the folder; folders end in `/`. */
export interface IgnoreRules {
  ignores(path: string): boolean;
  /** False when nothing below the ignored folder `path` can be wanted, so that nobody need look. */
  mayHoldWanted(path: string): boolean;
  /** The rules that hold in and below the folder `path` (without trailing slash), whose own .gitignore is `text`. */
  enter(path: string, text: string): IgnoreRules;
}

/**
 * The rules of a source folder.
 *
 * `.gitignore` files count, at every depth. `.ebbignore` (gitignore's syntax) comes after all of them, so that it can
 * leave out more and, with `!`, take back in what git leaves out, such as built files. Without an `.ebbignore`, a
 * `.dockerignore` counts with Docker's own semantics: patterns are rooted, the last one that matches a path or a
 * folder above it decides, and `!` takes back in.
 */
export function ignoreRules(files: {
  gitignore?: string | undefined;
  ebbignore?: string | undefined;
  dockerignore?: string | undefined;
}): IgnoreRules {
  const docker =
    files.ebbignore === undefined && files.dockerignore !== undefined ? dockerIgnore(files.dockerignore) : undefined;
  return rulesOf([files.gitignore ?? ''], files.ebbignore ?? '', docker);
}

function rulesOf(git: readonly string[], ebb: string, docker: DockerIgnore | undefined): IgnoreRules {
  const rules = ignore({ ignorecase: false });
  for (const text of git) rules.add(text);
  rules.add(ebb);
  return {
    ignores(path) {
      return docker?.verdict(path) === 'included' ? false : docker?.verdict(path) === 'ignored' || rules.ignores(path);
    },
    mayHoldWanted(path) {
      // Git's way: what lies in an ignored folder cannot be taken back in. Docker's way: it can.
      return docker !== undefined && docker.mayInclude(path);
    },
    enter(path, text) {
      return rulesOf([...git, rooted(text, path)], ebb, docker);
    },
  };
}

/** The same gitignore patterns, as they would be written in a .gitignore at the top instead of in `folder`. */
function rooted(text: string, folder: string): string {
  const prefix = folder.replaceAll(/[\\*?[\]!# ]/g, '\\$&');
  return text
    .split(/\r?\n/)
    .map((line) => {
      if (line.trim() === '' || line.startsWith('#')) return '';
      const negated = line.startsWith('!');
      const pattern = negated ? line.slice(1) : line;
      // gitignore(5): a slash at the start or in the middle roots the pattern; without one it matches at any depth.
      const anchored = pattern.trimEnd().replace(/\/$/, '').includes('/');
      const below = anchored ? posix.join('/', prefix, pattern) : `/${prefix}/**/${pattern}`;
      return `${negated ? '!' : ''}${below}`;
    })
    .join('\n');
}
