import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { generate } from 'selfsigned';
import type { KubeObject, Service } from '../kube.ts';
import { isObject, type JsonObject } from '../merge.ts';

/**
 * The parts of Ebb's API that the CLI speaks to, over a map: collections with resourceVersion, generation, conflicts and
 * watch. What controllers would do to a Service is told to it by `settle`.
 */
export interface FakeApi extends AsyncDisposable {
  dataDir: string;
  port: number;
  /** Path of a collection and name -> object. */
  objects: Map<string, KubeObject>;
  /** `METHOD path?query` of every call so far. */
  calls: string[];
  /** Answers a path in its own way. */
  on(route: string, answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>): void;
  /** Forgets all that `on` was told, all objects and calls. */
  reset(): void;
  /** Changes an object as a controller does, and tells the watchers. */
  change(path: string, change: (object: Service) => void): void;
  /** Called after each create or patch of a Service. */
  settle: (path: string, service: Service) => void;
  /** Ends every watch, as a restart does. */
  cutWatches(): void;
}

export const servicesPath = '/apis/serving.knative.dev/v1/namespaces/default/services';

export async function startFakeApi(): Promise<FakeApi> {
  const pki = await generate([{ name: 'commonName', value: 'fake' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  const objects = new Map<string, KubeObject>();
  const routes = new Map<string, (request: IncomingMessage, response: ServerResponse) => void | Promise<void>>();
  const watchers = new Set<{ collection: string; response: ServerResponse }>();
  const calls: string[] = [];
  let version = 0;

  const store = (path: string, object: KubeObject, type: 'ADDED' | 'MODIFIED') => {
    object.metadata.resourceVersion = String(++version);
    objects.set(path, object);
    tell(path, type, object);
  };
  const tell = (path: string, type: string, object: KubeObject) => {
    for (const watcher of watchers) {
      if (path.startsWith(`${watcher.collection}/`)) watcher.response.write(`${JSON.stringify({ type, object })}\n`);
    }
  };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', 'https://fake');
    calls.push(`${request.method} ${url.pathname}${url.search}`);
    if (request.headers.authorization !== 'Bearer secret') return refuse(response, 401, 'Unauthorized', 'no');
    const own = routes.get(`${request.method} ${url.pathname}`);
    if (own) return own(request, response);
    const path = url.pathname;
    switch (request.method) {
      case 'GET':
        if (url.searchParams.has('watch')) {
          response.writeHead(200).flushHeaders();
          const watcher = { collection: path, response };
          watchers.add(watcher);
          response.on('close', () => watchers.delete(watcher));
          return;
        }
        if (objects.has(path)) return json(response, 200, objects.get(path));
        if (!/\/(services|pods|revisions|events)$/.test(path))
          return refuse(response, 404, 'NotFound', `${path} not found`);
        return json(response, 200, {
          kind: 'List',
          metadata: { resourceVersion: String(version) },
          items: [...objects].filter(([key]) => key.startsWith(`${path}/`)).map(([, object]) => object),
        });
      case 'POST': {
        const object = (await bodyOf(request)) as unknown as Service;
        const key = `${path}/${object.metadata.name}`;
        if (objects.has(key)) return refuse(response, 409, 'AlreadyExists', `${key} exists`);
        object.metadata = { ...object.metadata, namespace: 'default', generation: 1 };
        store(key, object, 'ADDED');
        json(response, 201, object);
        return api.settle(key, object);
      }
      case 'PATCH': {
        const live = objects.get(path) as Service | undefined;
        if (!live) return refuse(response, 404, 'NotFound', `${path} not found`);
        const patch = await bodyOf(request);
        const wanted = (patch['metadata'] as { resourceVersion?: string } | undefined)?.resourceVersion;
        if (wanted !== undefined && wanted !== live.metadata.resourceVersion) {
          return refuse(response, 409, 'Conflict', 'the object has been modified');
        }
        const next = merged(live as unknown as JsonObject, patch) as unknown as Service;
        if (JSON.stringify(next.spec) !== JSON.stringify(live.spec)) {
          next.metadata.generation = (live.metadata.generation ?? 1) + 1;
        }
        store(path, next, 'MODIFIED');
        json(response, 200, next);
        return api.settle(path, next);
      }
      case 'DELETE': {
        const object = objects.get(path);
        if (!object) return refuse(response, 404, 'NotFound', `${path} not found`);
        objects.delete(path);
        tell(path, 'DELETED', object);
        return json(response, 200, { kind: 'Status', status: 'Success' });
      }
      default:
        return refuse(response, 405, 'MethodNotAllowed', 'no');
    }
  };

  const server: Server = createServer({ key: pki.private, cert: pki.cert }, (request, response) => {
    Promise.resolve(handle(request, response)).catch((error: unknown) =>
      refuse(response, 500, 'Broken', String(error)),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dataDir = mkdtempSync(join(tmpdir(), 'ebb-cli-test-'));
  writeFileSync(join(dataDir, 'kubeconfig'), kubeconfig(port, pki.cert));

  const api: FakeApi = {
    dataDir,
    port,
    objects,
    calls,
    settle: () => undefined,
    on: (route, answer) => void routes.set(route, answer),
    reset() {
      for (const kept of [objects, routes]) kept.clear();
      calls.length = 0;
    },
    change(path, change) {
      const object = structuredClone(objects.get(path)) as Service;
      change(object);
      store(path, object, 'MODIFIED');
    },
    cutWatches() {
      for (const { response } of watchers) response.destroy();
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  return api;
}

/** Makes the Service ready at its generation, as a controller does when all went well. */
export function makeReady(service: Service): void {
  service.status = {
    observedGeneration: service.metadata.generation ?? 0,
    url: `http://${service.metadata.name}.default.localhost:8080`,
    latestReadyRevisionName: `${service.metadata.name}-00001`,
    conditions: [{ type: 'Ready', status: 'True' }],
  };
}

export function json(response: ServerResponse, code: number, value: unknown): void {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function refuse(response: ServerResponse, code: number, reason: string, message: string): void {
  json(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message });
}

async function bodyOf(request: IncomingMessage): Promise<JsonObject> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  return JSON.parse(text) as JsonObject;
}

function merged(target: unknown, patch: unknown): JsonObject {
  if (!isObject(patch)) return patch as JsonObject;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function kubeconfig(port: number, cert: string): string {
  return `apiVersion: v1
kind: Config
current-context: ebb
clusters:
  - name: ebb
    cluster:
      server: https://127.0.0.1:${port}
      certificate-authority-data: ${Buffer.from(cert).toString('base64')}
users:
  - name: admin
    user: { token: secret }
contexts:
  - name: ebb
    context: { cluster: ebb, user: admin }
`;
}
