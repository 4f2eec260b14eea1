import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { EbbError, errnoOf } from '../platform/errors.ts';
import type { Spawner } from '../platform/spawn.ts';

/** What a registry is told about who asks. An identity token is exchanged at the token server (OAuth2). */
export type Credentials = { kind: 'basic'; user: string; password: string } | { kind: 'identity'; token: string };

const largestConfigBytes = 1024 * 1024;

/** `~/.docker/config.json`, or where `DOCKER_CONFIG` says. */
export function defaultDockerConfigPath(env: NodeJS.ProcessEnv = process.env): string {
  return join(env['DOCKER_CONFIG'] || join(homedir(), '.docker'), 'config.json');
}

/**
 * The credentials that Docker's configuration file has for `registry`: its credential helper (`credHelpers`, else
 * `credsStore`), else its entry in `auths`. Read anew each time, so that `docker login` takes effect at once; undefined
 * when there are none. Throws EbbError InvalidDockerConfig.
 */
export async function findCredentials(
  registry: string,
  options: { configPath: string; spawner: Spawner; signal?: AbortSignal },
): Promise<Credentials | undefined> {
  const config = await readConfig(options.configPath);
  const keys = keysOf(registry);
  const helpers = asObject(config['credHelpers']);
  const helper = keys.map((key) => helpers[key]).find((name) => typeof name === 'string') ?? config['credsStore'];
  if (typeof helper === 'string' && helper !== '') {
    for (const key of keys) {
      const found = await askHelper(helper, key, options);
      if (found) return found;
    }
  }
  const auths = Object.entries(asObject(config['auths']));
  for (const key of keys) {
    // Docker itself writes hosts; older versions wrote URLs.
    const entry = auths.find(([name]) => name === key || hostOf(name) === key)?.[1];
    const found = fromAuth(asObject(entry));
    if (found) return found;
  }
  return undefined;
}

function keysOf(registry: string): string[] {
  return registry === 'docker.io' ? ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io'] : [registry];
}

function hostOf(name: string): string {
  return name.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

function fromAuth(entry: Record<string, unknown>): Credentials | undefined {
  if (typeof entry['identitytoken'] === 'string' && entry['identitytoken'] !== '') {
    return { kind: 'identity', token: entry['identitytoken'] };
  }
  if (typeof entry['auth'] === 'string' && entry['auth'] !== '') {
    const text = Buffer.from(entry['auth'], 'base64').toString('utf8');
    const colon = text.indexOf(':');
    // Docker pads with NULs.
    if (colon > 0) return basic(text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, ''));
  }
  const { username, password } = entry;
  return typeof username === 'string' && typeof password === 'string' ? basic(username, password) : undefined;
}

function basic(user: string, password: string): Credentials {
  return { kind: 'basic', user, password };
}

/** docker-credential-helpers protocol: the server on stdin, JSON on stdout; `<token>` as user means identity token. */
async function askHelper(
  helper: string,
  server: string,
  options: { spawner: Spawner; configPath: string; signal?: AbortSignal },
): Promise<Credentials | undefined> {
  // The name becomes part of a command.
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(helper))
    throw invalid(options.configPath, `"${helper}" is not a credential helper`);
  const result = await options.spawner.run(`docker-credential-${helper}`, ['get'], {
    input: server,
    timeoutMs: 30_000,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  // Helpers say "credentials not found" this way, in words that differ.
  if (result.code !== 0) return undefined;
  const answer = parse(result.stdout, `docker-credential-${helper}`);
  const { Username: user, Secret: secret } = answer;
  if (typeof user !== 'string' || typeof secret !== 'string') return undefined;
  return user === '<token>' ? { kind: 'identity', token: secret } : basic(user, secret);
}

async function readConfig(path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ENOTDIR') return {};
    throw new EbbError('InvalidDockerConfig', 400, `cannot read ${path} (${errnoOf(cause) ?? 'unknown error'})`, {
      cause,
    });
  }
  if (text.length > largestConfigBytes) throw invalid(path, 'it is too large');
  return parse(text, path);
}

function parse(text: string, where: string): Record<string, unknown> {
  try {
    return asObject(JSON.parse(text));
  } catch {
    // Not even the parser's message may be shown: it quotes what may be a secret.
    throw invalid(where, 'it is not JSON');
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function invalid(path: string, why: string): EbbError {
  return new EbbError('InvalidDockerConfig', 400, `credentials cannot be read from ${path}: ${why}`);
}
