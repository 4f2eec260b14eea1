import { EbbError } from '../platform/errors.ts';
import type { FromGateway, InstanceEntry, RevisionEntry, RouteEntry, ToGateway } from './wire.ts';

/** Reads a message of the control process; throws `BadMessage` naming what is wrong with it. */
export function readToGateway(line: string): ToGateway {
  const message = objectOf(line);
  switch (message['type']) {
    case 'hello':
      return { type: 'hello', version: numberAt(message, 'version') };
    case 'sync':
      return {
        type: 'sync',
        routes: listAt(message, 'routes').map(routeOf),
        revisions: listAt(message, 'revisions').map(revisionOf),
        instances: listAt(message, 'instances').map(instanceOf),
      };
    case 'route':
      return { type: 'route', route: routeOf(message['route']) };
    case 'route-gone':
      return { type: 'route-gone', host: textAt(message, 'host') };
    case 'revision':
      return { type: 'revision', revision: revisionOf(message['revision']) };
    case 'instance':
      return { type: 'instance', instance: instanceOf(message['instance']) };
    case 'revision-gone':
    case 'instance-gone':
    case 'drain':
      return { type: message['type'], id: textAt(message, 'id') };
    case 'quit':
      return { type: 'quit' };
    default:
      throw bad('type', message['type']);
  }
}

/** Reads a message of the gateway, shallowly: both are the same program, of the same wire version. */
export function readFromGateway(line: string): FromGateway {
  const message = objectOf(line);
  switch (message['type']) {
    case 'hello':
      return {
        type: 'hello',
        version: numberAt(message, 'version'),
        pid: numberAt(message, 'pid'),
        address: textAt(message, 'address'),
      };
    case 'activate':
      return { type: 'activate', revision: textAt(message, 'revision'), queued: numberAt(message, 'queued') };
    case 'stats':
      return {
        type: 'stats',
        periodMs: numberAt(message, 'periodMs'),
        revisions: listAt(message, 'revisions').map((value) => {
          const stats = recordOf(value, 'revisions');
          return {
            revision: textAt(stats, 'revision'),
            concurrency: numberAt(stats, 'concurrency'),
            requests: numberAt(stats, 'requests'),
            queued: numberAt(stats, 'queued'),
            inFlight: numberAt(stats, 'inFlight'),
          };
        }),
      };
    case 'drained':
      return { type: 'drained', id: textAt(message, 'id') };
    case 'instance-unreachable':
      return { type: 'instance-unreachable', id: textAt(message, 'id'), error: textAt(message, 'error') };
    default:
      throw bad('type', message['type']);
  }
}

type Json = Record<string, unknown>;

function routeOf(value: unknown): RouteEntry {
  const route = recordOf(value, 'route');
  return {
    host: textAt(route, 'host').toLowerCase(),
    namespace: textAt(route, 'namespace'),
    route: textAt(route, 'route'),
    targets: listAt(route, 'targets').map((entry) => {
      const target = recordOf(entry, 'targets');
      return { revision: textAt(target, 'revision'), percent: numberAt(target, 'percent') };
    }),
  };
}

function revisionOf(value: unknown): RevisionEntry {
  const revision = recordOf(value, 'revision');
  const protocol = revision['protocol'];
  if (protocol !== 'http1' && protocol !== 'h2c') throw bad('protocol', protocol);
  const failure = revision['failure'];
  if (failure != null && typeof failure !== 'string') throw bad('failure', failure);
  return {
    id: textAt(revision, 'id'),
    service: textAt(revision, 'service'),
    configuration: textAt(revision, 'configuration'),
    protocol,
    containerConcurrency: numberAt(revision, 'containerConcurrency'),
    timeoutMs: numberAt(revision, 'timeoutMs'),
    responseStartTimeoutMs: numberAt(revision, 'responseStartTimeoutMs'),
    idleTimeoutMs: numberAt(revision, 'idleTimeoutMs'),
    failure: failure ?? undefined,
  };
}

function instanceOf(value: unknown): InstanceEntry {
  const instance = recordOf(value, 'instance');
  const state = instance['state'];
  if (state !== 'ready' && state !== 'draining') throw bad('state', state);
  const port = numberAt(instance, 'port');
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw bad('port', port);
  return {
    id: textAt(instance, 'id'),
    revision: textAt(instance, 'revision'),
    host: textAt(instance, 'host'),
    port,
    state,
  };
}

function objectOf(line: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new EbbError('BadMessage', 400, 'a message is not JSON', { cause });
  }
  return recordOf(value, 'message');
}

function recordOf(value: unknown, name: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(name, value);
  return value as Json;
}

function textAt(value: Json, key: string): string {
  const text = value[key];
  if (typeof text !== 'string') throw bad(key, text);
  return text;
}

function numberAt(value: Json, key: string): number {
  const number = value[key];
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0) throw bad(key, number);
  return number;
}

function listAt(value: Json, key: string): unknown[] {
  const list = value[key];
  if (!Array.isArray(list)) throw bad(key, list);
  return list;
}

function bad(key: string, value: unknown): EbbError {
  const shown = JSON.stringify(value)?.slice(0, 100) ?? 'nothing';
  return new EbbError('BadMessage', 400, `a message has ${key} ${shown}, which is not allowed`);
}
