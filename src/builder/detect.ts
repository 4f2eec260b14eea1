import { posix } from 'node:path';
import { EbbError, messageOf } from '../platform/errors.ts';
import { argvOf, simpleWords } from './command.ts';

/** What detection looks at: the files that go into the image, and the text of the few that say what it is. */
export interface Listing {
  /** Relative to the folder's root. */
  paths: ReadonlySet<string>;
  executables: ReadonlySet<string>;
  /** Text (its start, for long files) of one of {@link filesToRead}; undefined when it is not there. */
  text(path: string): string | undefined;
}

export type Runtime = 'node' | 'python';

export type Detected =
  | { kind: 'dockerfile'; file: string }
  | {
      kind: 'procfile' | 'start' | 'node' | 'python' | 'static';
      /** The command that serves, with its arguments; run in the source folder. */
      argv: string[];
      runtimes: Runtime[];
      /** Further programs of this machine that it needs: absolute paths, or names to look for on the PATH. */
      programs: string[];
    };

/** The files whose text {@link detect} asks for. */
export const filesToRead = ['package.json', 'Procfile', 'start'];

const nodeEntries = ['server', 'index'].flatMap((n) => ['js', 'mjs', 'cjs', 'ts', 'mts'].map((e) => `${n}.${e}`));

/**
 * Says what a source folder is. What is said explicitly goes before what is guessed:
 *
 * 1. `Dockerfile` (or `Containerfile`)
 * 2. `Procfile` with a `web:` line
 * 3. an executable file `start`
 * 4. Node: package.json with a start script, or a `main` that exists; else server.js or index.js (also .mjs, .cjs, .ts,
 *    .mts). An index.js beside an index.html and without a package.json is a page's script, not a server.
 * 5. Python: main.py, or app.py
 * 6. a static site: index.html
 *
 * Throws EbbError SourceNotRecognised, BadProcfile, BadPackageJson.
 */
export function detect(listing: Listing): Detected {
  for (const step of [dockerfile, procfile, startFile, node, python, staticSite]) {
    const found = step(listing);
    if (found) return found;
  }
  const some = [...listing.paths].filter((path) => !path.includes('/')).slice(0, 8);
  throw new EbbError(
    'SourceNotRecognised',
    422,
    `nothing in the folder says how to run it (${some.length ? `found ${some.join(', ')}` : 'it is empty'}); recognised are: ` +
      'a Dockerfile; a Procfile with a "web:" line; an executable file "start"; ' +
      'package.json with a "start" script or a "main", server.js or index.js; main.py or app.py; index.html',
  );
}

/** The names of the files that buildah builds, in the order in which they are looked for. */
export const dockerfiles = ['Dockerfile', 'Containerfile'];

function dockerfile({ paths }: Listing): Detected | undefined {
  const file = dockerfiles.find((name) => paths.has(name));
  return file ? { kind: 'dockerfile', file } : undefined;
}

function procfile(listing: Listing): Detected | undefined {
  const text = listing.text('Procfile');
  if (text === undefined) return undefined;
  const line = /^web[ \t]*:[ \t]*(\S.*)$/m.exec(text)?.[1];
  if (!line) {
    throw new EbbError(
      'BadProcfile',
      422,
      'the Procfile has no "web:" line: add one with the command that serves on $PORT',
    );
  }
  // `web: npm start` is common, and images have no npm.
  const manifest = listing.text('package.json');
  const web = script({ ...(manifest === undefined ? {} : parsePackage(manifest).scripts), web: line }, 'web') ?? line;
  const argv = argvOf(web);
  const first = simpleWords(web)?.[0];
  const runtimes = runtimesOf(listing, first);
  const own = first !== undefined && (listing.paths.has(posix.normalize(first)) || first.includes('/'));
  const provided = first === undefined || own || runtimes.length > 0 || runtimeOf(first) !== undefined;
  return { kind: 'procfile', argv, runtimes, programs: provided ? [] : [first] };
}

function startFile(listing: Listing): Detected | undefined {
  if (!listing.executables.has('start')) return undefined;
  const shebang = /^#![ \t]*(\S+)(?:[ \t]+(.*))?/.exec(listing.text('start') ?? '');
  const words = (shebang?.[2] ?? '').split(/\s+/).filter((word) => word !== '-S' && word !== '');
  const asked = shebang && posix.basename(shebang[1] ?? '') === 'env' ? words[0] : shebang?.[1];
  const runtime = asked === undefined ? undefined : runtimeOf(posix.basename(asked));
  const isShell = asked === undefined || ['sh', 'dash'].includes(posix.basename(asked));
  return {
    kind: 'start',
    argv: ['./start'],
    runtimes: runtimesOf(listing, runtime),
    programs: isShell || runtime ? [] : [asked],
  };
}

interface PackageJson {
  main?: unknown;
  scripts?: Record<string, unknown>;
}

function node(listing: Listing): Detected | undefined {
  const found = (argv: string[]): Detected => ({
    kind: 'node',
    argv,
    runtimes: runtimesOf(listing, 'node'),
    programs: [],
  });
  const text = listing.text('package.json');
  if (text !== undefined) {
    const { scripts, main } = parsePackage(text);
    const start = script(scripts ?? {}, 'start');
    if (start) return found(argvOf(start));
    const file = typeof main === 'string' ? mainFile(listing, main) : undefined;
    if (file) return found(['node', file]);
  }
  const entry = nodeEntries.find((name) => listing.paths.has(name));
  if (!entry || (entry.startsWith('index.') && text === undefined && listing.paths.has('index.html'))) return undefined;
  return found(['node', entry]);
}

/** The text of script `name` with its `pre` script, as npm would run it; `npm run X` inside is followed. */
function script(scripts: Record<string, unknown>, name: string, depth = 0): string | undefined {
  const own = scripts[name];
  if (typeof own !== 'string' || own.trim() === '') return undefined;
  const next = /^npm\s+(?:run(?:-script)?\s+)?(?:-s\s+|--silent\s+)?([\w:.-]+)$/.exec(own.trim())?.[1];
  // Images have no npm; a script that only names another one needs none.
  const text = next && next !== name && depth < 5 ? (script(scripts, next, depth + 1) ?? own) : own;
  const before = scripts[`pre${name}`];
  return typeof before === 'string' && before.trim() !== '' ? `${before} && ${text}` : text;
}

/** `main` as Node resolves it (Modules: CommonJS, "Folders as modules"). */
function mainFile({ paths }: Listing, main: string): string | undefined {
  const path = posix.normalize(main).replace(/\/$/, '');
  return [path, `${path}.js`, `${path}/index.js`].find((candidate) => paths.has(candidate));
}

function parsePackage(text: string): PackageJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EbbError('BadPackageJson', 422, `package.json is not JSON: ${messageOf(cause)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EbbError('BadPackageJson', 422, 'package.json is not a JSON object');
  }
  const { scripts, main } = value as Record<string, unknown>;
  return {
    main,
    ...(typeof scripts === 'object' && scripts !== null ? { scripts: scripts as Record<string, unknown> } : {}),
  };
}

function python(listing: Listing): Detected | undefined {
  const entry = ['main.py', 'app.py'].find((name) => listing.paths.has(name));
  if (!entry) return undefined;
  return { kind: 'python', argv: ['python3', entry], runtimes: runtimesOf(listing, 'python3'), programs: [] };
}

function staticSite({ paths }: Listing): Detected | undefined {
  if (!paths.has('index.html')) return undefined;
  return { kind: 'static', argv: ['node', '/opt/ebb/static-server.mjs'], runtimes: ['node'], programs: [] };
}

/** The runtime that gives the program `name`. */
function runtimeOf(name: string): Runtime | undefined {
  if (/^python(3(\.\d+)?)?$/.test(name)) return 'python';
  return ['node', 'nodejs'].includes(name) ? 'node' : undefined;
}

/** What the command `first` needs, and what the folder's dependency files say that it may start. */
function runtimesOf({ paths }: Listing, first: string | undefined): Runtime[] {
  const found = new Set<Runtime>();
  const asked = first && runtimeOf(posix.basename(first));
  if (asked) found.add(asked);
  if (paths.has('package.json')) found.add('node');
  if (paths.has('requirements.txt')) found.add('python');
  if (found.size === 0) {
    // Scripts in the root that some other command will start.
    for (const path of paths) {
      if (/^[^/]+\.[cm]?js$/.test(path)) found.add('node');
      if (/^[^/]+\.py$/.test(path)) found.add('python');
    }
  }
  return [...found].sort();
}
