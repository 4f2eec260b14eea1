import { readFile } from 'node:fs/promises';
import { EbbError, errnoOf } from '../platform/errors.ts';
import { codes, usageError } from './exit.ts';

/** Where the API is and how to prove who is calling. */
export interface Connection {
  /** `https://127.0.0.1:8470`, no trailing slash. */
  server: string;
  ca: string | undefined;
  token: string | undefined;
  cert: string | undefined;
  key: string | undefined;
  /** Of the current context. */
  namespace: string | undefined;
}

/** Reads a kubeconfig's current context. Throws EbbError: Unreachable when there is no file, Usage when it makes no sense. */
export async function loadKubeconfig(file: string): Promise<Connection> {
  return connectionOf(await parse(await read(file), file), file);
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const why =
      errnoOf(cause) === 'ENOENT'
        ? `there is no kubeconfig at ${file}: start Ebb with "ebb up --detach", or name another with --data-dir or --kubeconfig`
        : errnoOf(cause) === 'EACCES'
          ? `may not read the kubeconfig ${file}: run as root, or point EBB_KUBECONFIG to a copy that you may read`
          : `cannot read the kubeconfig ${file}: ${errnoOf(cause) ?? 'unknown error'}`;
    throw new EbbError(codes.unreachable, 503, why, { cause });
  }
}

async function parse(text: string, file: string): Promise<unknown> {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not JSON, so it is YAML; the parser is loaded only now, since it costs more than all the rest.
  }
  const { parse: parseYaml } = await import('yaml');
  try {
    return parseYaml(text) as unknown;
  } catch (cause) {
    throw usageError(
      `${file} is not a kubeconfig: ${cause instanceof Error ? cause.message.split('\n')[0] : 'not YAML'}`,
    );
  }
}

interface Named {
  name?: string;
  [field: string]: unknown;
}

function connectionOf(config: unknown, file: string): Connection {
  const root = record(config);
  const current = root['current-context'];
  const context = find(root['contexts'], current, 'context');
  const cluster = find(root['clusters'], context['cluster'], 'cluster');
  const user = find(root['users'], context['user'], 'user');
  const server = text(cluster['server']);
  if (!server || !/^https:\/\//.test(server)) {
    throw usageError(`${file} is not a kubeconfig that ebb can use: its current cluster has no https:// server`);
  }
  return {
    server: server.replace(/\/+$/, ''),
    ca: decoded(cluster['certificate-authority-data']),
    token: text(user['token']),
    cert: decoded(user['client-certificate-data']),
    key: decoded(user['client-key-data']),
    namespace: text(context['namespace']),
  };
}

/** The entry of that name in a kubeconfig's list, or the first one when no name is given. */
function find(list: unknown, name: unknown, field: string): Record<string, unknown> {
  const entries = Array.isArray(list) ? (list as Named[]) : [];
  const entry = name === undefined ? entries[0] : entries.find((e) => e.name === name);
  return record(entry?.[field]);
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function decoded(value: unknown): string | undefined {
  const base64 = text(value);
  return base64 && Buffer.from(base64, 'base64').toString('utf8');
}
