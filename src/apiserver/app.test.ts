import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import { silentLogger } from '../platform/logger.ts';
import { kinds } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import { createApp } from './app.ts';
import { podCollection } from './pods.ts';
import { bearerToken } from './token.ts';
import type { PodView } from './views.ts';

type Json = Record<string, unknown>;

const serving = '/apis/serving.knative.dev/v1/namespaces/default';
const service = (name: string, image = 'localhost/a:1', metadata: Json = {}) => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Service',
  metadata: { name, ...metadata },
  spec: { template: { spec: { containers: [{ image }] } } },
});

/** A view whose pods the test sets. */
function createView() {
  const listeners = new Set<() => void>();
  let pods: KubeObject[] = [];
  const view: PodView = {
    list: async () => structuredClone(pods),
    get: async (namespace, name) => pods.find((p) => p.metadata.namespace === namespace && p.metadata.name === name),
    async *logs(_namespace, name) {
      yield `${name} says hi\n`;
      yield 'and bye\n';
    },
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
  };
  const set = (...next: [name: string, phase: string][]) => {
    pods = next.map(([name, phase]) => {
      const metadata = { name, namespace: 'default', labels: { name }, creationTimestamp: '2026-01-01T00:00:00Z' };
      return Object.assign({ apiVersion: 'v1', kind: 'Pod', metadata }, { status: { phase, containerStatuses: [] } });
    });
    for (const listener of listeners) listener();
  };
  return { view, set };
}

async function setUp() {
  const clock = new FakeClock();
  const store = await openSqliteStore({ file: ':memory:', clock });
  await store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } });
  const stop = new AbortController();
  const { view, set } = createView();
  const app = createApp({
    store,
    kinds,
    authenticate: bearerToken('secret'),
    views: { pods: view },
    extend: (own) => {
      own.get('/apis/ebb.dev/v1alpha1/ping', (c) => c.json({ pong: true }));
      own.get('/apis/ebb.dev/v1alpha1/teapot', () => {
        throw new EbbError('Teapot', 418, 'short and stout');
      });
      own.get('/apis/ebb.dev/v1alpha1/crash', () => {
        throw new Error('with a secret in it');
      });
    },
    clock,
    logger: silentLogger,
    version: '0',
    signal: stop.signal,
  });
  const send = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const text = body === undefined || typeof body === 'string' ? (body as string | undefined) : JSON.stringify(body);
    return app.request(path, {
      method,
      headers: { authorization: 'Bearer secret', 'content-type': 'application/json', ...headers },
      ...(text === undefined ? {} : { body: text }),
    });
  };
  const json = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const response = await send(method, path, body, headers);
    return { status: response.status, body: (await response.json()) as Json & { metadata: Json; items: KubeObject[] } };
  };
  /** Reads a watch, line by line. */
  const watch = async (path: string, headers?: Record<string, string>) => {
    const response = await send('GET', path, undefined, headers);
    assert.equal(response.status, 200);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    return {
      next: async () => {
        const { value, done } = await reader.read();
        return done ? undefined : (JSON.parse(value) as { type: string; object: Json & { metadata: Json } });
      },
      [Symbol.asyncDispose]: () => reader.cancel(),
    };
  };
  const dispose = async () => {
    stop.abort();
    await store[Symbol.asyncDispose]();
  };
  return { app, store, send, json, watch, set, view, clock, stop, [Symbol.asyncDispose]: dispose };
}

describe('the API', () => {
  it('lets nobody in but to the health checks', async () => {
    await using t = await setUp();
    for (const path of ['/healthz', '/livez', '/readyz']) assert.equal((await t.app.request(path)).status, 200);
    for (const authorization of ['', 'Bearer', 'Bearer wrong', 'Basic secret', 'Bearer secret2', 'secret']) {
      for (const path of ['/api', '/version', `${serving}/services`, '/nowhere', '/apis/ebb.dev/v1alpha1/ping']) {
        const response = await t.app.request(path, { headers: { authorization } });
        assert.equal(response.status, 401, `${authorization} ${path}`);
        assert.equal(((await response.json()) as Json)['reason'], 'Unauthorized');
      }
    }
  });

  it('carries the extension, with the same errors, and never shows an unexpected one', async () => {
    await using t = await setUp();
    assert.deepEqual((await t.json('GET', '/apis/ebb.dev/v1alpha1/ping')).body, { pong: true });
    const { status, body } = await t.json('GET', '/apis/ebb.dev/v1alpha1/teapot');
    assert.deepEqual([status, body['reason'], body['message']], [418, 'Teapot', 'short and stout']);
    const crash = await t.json('GET', '/apis/ebb.dev/v1alpha1/crash');
    assert.equal(crash.status, 500);
    assert.doesNotMatch(JSON.stringify(crash.body), /secret/);
    assert.equal((await t.json('GET', '/apis/ebb.dev/v1alpha1/nothing')).status, 404);
  });

  it('creates, gets, updates, patches and deletes', async () => {
    await using t = await setUp();
    const created = await t.json('POST', `${serving}/services`, service('a'));
    assert.equal(created.status, 201);
    assert.equal(created.body.metadata['namespace'], 'default');
    assert.equal((await t.json('POST', `${serving}/services`, service('a'))).body['reason'], 'AlreadyExists');
    const stale = created.body;
    const put = await t.json('PUT', `${serving}/services/a`, { ...stale, spec: service('a', 'localhost/a:2').spec });
    assert.deepEqual([put.status, put.body.metadata['generation']], [200, 2]);
    const conflict = await t.json('PUT', `${serving}/services/a`, {
      ...stale,
      spec: service('a', 'localhost/a:3').spec,
    });
    assert.equal(conflict.status, 409);
    assert.match(
      String(conflict.body['message']),
      /^Operation cannot be fulfilled on services\.serving\.knative\.dev "a": the object has been modified/,
    );
    const patched = await t.json(
      'PATCH',
      `${serving}/services/a`,
      { metadata: { labels: { x: 'y' } } },
      { 'content-type': 'application/merge-patch+json' },
    );
    assert.deepEqual(patched.body.metadata['labels'], { x: 'y' });
    const test = [{ op: 'test', path: '/metadata/labels/x', value: 'z' }];
    const failed = await t.json('PATCH', `${serving}/services/a`, test, {
      'content-type': 'application/json-patch+json',
    });
    assert.equal(failed.status, 422);
    const deleted = await t.json('DELETE', `${serving}/services/a`, { preconditions: { uid: 'other' } });
    assert.equal(deleted.status, 409);
    assert.equal((await t.json('DELETE', `${serving}/services/a`)).body['status'], 'Success');
    assert.equal((await t.json('GET', `${serving}/services/a`)).body['reason'], 'NotFound');
  });

  it('answers dry runs in full and stores nothing', async () => {
    await using t = await setUp();
    const { status, body } = await t.json('POST', `${serving}/services?dryRun=All`, service('a'));
    assert.equal(status, 201);
    assert.ok(body.metadata['uid']);
    assert.equal((await t.json('GET', `${serving}/services`)).body.items.length, 0);
    assert.equal((await t.json('POST', `${serving}/services?dryRun=Some`, service('a'))).status, 422);
  });

  it('handles unknown fields as asked', async () => {
    await using t = await setUp();
    const odd = { ...service('a'), oops: 1 };
    const strict = await t.json('POST', `${serving}/services?fieldValidation=Strict`, odd);
    assert.deepEqual([strict.status, strict.body['reason']], [400, 'BadRequest']);
    assert.match(String(strict.body['message']), /strict decoding error: unknown field "oops"/);
    const warned = await t.send('POST', `${serving}/services`, odd);
    assert.equal(warned.headers.get('warning'), '299 - "unknown field \\"oops\\""');
    assert.equal(((await warned.json()) as Json)['oops'], undefined);
    const ignored = await t.send('POST', `${serving}/services?fieldValidation=Ignore`, { ...service('b'), oops: 1 });
    assert.equal(ignored.headers.get('warning'), null);
  });

  it('names causes by field', async () => {
    await using t = await setUp();
    const { body } = await t.json('POST', `${serving}/services`, service('a', ''));
    const { causes } = body['details'] as { causes: Json[] };
    assert.equal(causes[0]?.['field'], 'spec.template.spec.containers[0].image');
    assert.match(
      String(body['message']),
      /^validation failed: missing field\(s\): spec\.template\.spec\.containers\[0\]\.image/,
    );
  });

  it('generates names, pages lists, selects', async () => {
    await using t = await setUp();
    for (let i = 0; i < 5; i++) {
      const { status } = await t.json(
        'POST',
        `${serving}/services`,
        service('', 'localhost/a:1', { name: undefined, generateName: 'gen-', labels: { i: String(i) } }),
      );
      assert.equal(status, 201);
    }
    const first = await t.json('GET', `${serving}/services?limit=3`);
    assert.equal(first.body.items.length, 3);
    const rest = await t.json('GET', `${serving}/services?limit=3&continue=${String(first.body.metadata['continue'])}`);
    assert.equal(rest.body.items.length, 2);
    assert.equal((await t.json('GET', `${serving}/services?labelSelector=i%20in%20(1,2)`)).body.items.length, 2);
    assert.equal((await t.json('GET', `${serving}/services?fieldSelector=spec.x%3Dy`)).status, 400);
    assert.equal((await t.json('DELETE', `${serving}/services?labelSelector=i%3D1`)).status, 200);
    assert.equal((await t.json('GET', `/apis/serving.knative.dev/v1/services`)).body.items.length, 4);
  });

  it('refuses what it cannot take, and says what it can', async () => {
    await using t = await setUp();
    const post = (body: unknown, type: string) => t.json('POST', `${serving}/services`, body, { 'content-type': type });
    const yaml = 'metadata: {name: y}\nspec: {template: {spec: {containers: [{image: localhost/a:1}]}}}';
    assert.equal((await post(yaml, 'application/yaml')).status, 201);
    assert.equal((await post('k8s\0', 'application/vnd.kubernetes.protobuf')).status, 415);
    assert.equal((await post('{', 'application/json')).status, 400);
    assert.equal((await post('a: [', 'application/yaml')).status, 400);
    assert.equal((await post('[]', 'application/json')).status, 400);
    assert.equal((await post(`${'['.repeat(100_000)}`, 'application/json')).status, 400);
    assert.equal((await post(`${'['.repeat(200)}${']'.repeat(200)}`, 'application/json')).status, 400);
    assert.equal((await post(`${'['.repeat(5000)}`, 'application/yaml')).status, 400);
    assert.equal((await post('x'.repeat(3 * 1024 * 1024 + 1), 'application/json')).status, 413);
    const strategic = { 'content-type': 'application/strategic-merge-patch+json' };
    assert.equal((await t.json('PATCH', `${serving}/services/y`, {}, strategic)).status, 415);
    const applying = { 'content-type': 'application/apply-patch+yaml' };
    assert.equal((await t.json('PATCH', `${serving}/services/y`, {}, applying)).status, 422);
    assert.equal((await t.json('PATCH', `${serving}/services/y/status?fieldManager=x`, {}, applying)).status, 415);
    const merging = { 'content-type': 'application/merge-patch+json' };
    assert.equal((await t.json('PATCH', `${serving}/services/y?force=true`, {}, merging)).status, 422);
    assert.equal((await t.json('GET', `${serving}/services`, undefined, { accept: 'text/html' })).status, 406);
    assert.equal((await t.json('POST', `${serving}/revisions`, {})).status, 405);
    assert.equal(
      (await t.json('POST', '/apis/serving.knative.dev/v1/namespaces/none/services', service('a'))).body['reason'],
      'NotFound',
    );
    assert.equal((await t.json('GET', `${serving}/services?resourceVersion=999`)).status, 504);
    const copies = Array.from({ length: 60 }, (_, i) => ({ op: 'copy', from: '/spec', path: `/spec/x${i}` }));
    const bomb = await t.json('PATCH', `${serving}/services/y`, copies, {
      'content-type': 'application/json-patch+json',
    });
    assert.equal(bomb.status, 422);
  });

  it('applies, tracks who writes from then on, and forgets when asked to', async () => {
    await using t = await setUp();
    const path = '/api/v1/namespaces/default/configmaps/c';
    const apply = (data: Json, query: string) =>
      t.json('PATCH', `${path}?${query}`, { apiVersion: 'v1', kind: 'ConfigMap', data }, applying);
    const applying = { 'content-type': 'application/apply-patch+yaml' };
    const merging = { 'content-type': 'application/merge-patch+json' };
    const managers = (object: { metadata: Json }) =>
      ((object.metadata['managedFields'] ?? []) as Json[]).map(
        (m) => `${String(m['manager'])} ${String(m['operation'])}`,
      );

    assert.equal((await apply({ a: '1' }, 'fieldManager=me')).status, 201);
    assert.equal((await apply({ a: '1' }, 'fieldManager=me')).status, 200);
    const patched = await t.json('PATCH', `${path}?fieldManager=you`, { data: { b: '2' } }, merging);
    assert.deepEqual(managers(patched.body), ['me Apply', 'you Update']);
    const agent = { ...merging, 'user-agent': 'robot/v1 (linux)' };
    const named = await t.json('PATCH', path, { data: { c: '3' } }, agent);
    assert.deepEqual(managers(named.body), ['me Apply', 'you Update', 'robot Update']);
    const conflict = await apply({ b: '9' }, 'fieldManager=me');
    assert.deepEqual([conflict.status, conflict.body['reason']], [409, 'Conflict']);
    const { causes } = conflict.body['details'] as { causes: Json[] };
    assert.deepEqual(causes, [
      { reason: 'FieldManagerConflict', message: 'conflict with "you" using v1', field: '.data.b' },
    ]);
    assert.equal((await apply({ b: '9' }, 'fieldManager=me&force=true')).status, 200);
    const lies = { metadata: { managedFields: [] } };
    assert.equal(managers((await t.json('PATCH', path, lies, merging)).body).length, 2);
    const forget = { metadata: { managedFields: [{}] } };
    assert.deepEqual(managers((await t.json('PATCH', path, forget, merging)).body), []);

    for (const [body, query, status] of [
      ['a: [', 'fieldManager=me', 400],
      ['[]', 'fieldManager=me', 400],
      ['{"data":1}', 'fieldManager=me', 400],
      ['{"metadata":{"managedFields":[{}]}}', 'fieldManager=me', 400],
      ['{"metadata":{"name":"other"}}', 'fieldManager=me', 400],
      ['{"x":1}', 'fieldManager=me&fieldValidation=Strict', 400],
      ['{}', `fieldManager=${'m'.repeat(129)}`, 422],
      ['{}', 'fieldManager=%00', 422],
      ['{}', '', 422],
      ['{}', 'fieldManager=me&force=perhaps', 400],
      ['{"metadata":{"resourceVersion":"1"}}', 'fieldManager=me', 409],
    ] as const) {
      assert.equal((await t.json('PATCH', `${path}?${query}`, body, applying)).status, status, `${body} ${query}`);
    }
    const missing = await t.json('PATCH', `${serving}/services/new?fieldManager=me`, { spec: {} }, applying);
    assert.match(String(missing.body['message']), /missing field\(s\): spec\.template/);
    const gone = `${serving}/services/gone?fieldManager=me`;
    assert.equal((await t.json('PATCH', gone, { metadata: { resourceVersion: '5' } }, applying)).status, 404);
  });

  it('lets many patch and apply one object at once, and loses nothing', async () => {
    await using t = await setUp();
    const path = '/api/v1/namespaces/default/configmaps/c';
    const write = (i: number) =>
      i % 2 === 0
        ? t.send(
            'PATCH',
            `${path}?fieldManager=m${i}`,
            { data: { [`k${i}`]: '1' } },
            { 'content-type': 'application/apply-patch+yaml' },
          )
        : t.send('PATCH', path, { data: { [`k${i}`]: '1' } }, { 'content-type': 'application/merge-patch+json' });
    assert.equal((await write(0)).status, 201);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => write(i)));
    assert.deepEqual([...new Set(answers.map((a) => a.status))], [200]);
    assert.equal(Object.keys((await t.json('GET', path)).body['data'] as Json).length, 40);
  });

  it('writes status apart', async () => {
    await using t = await setUp();
    await t.json('POST', `${serving}/services`, { ...service('a'), status: { url: 'http://x' } });
    assert.equal((await t.json('GET', `${serving}/services/a`)).body['status'], undefined);
    const status = { status: { url: 'http://y', oops: 1 }, spec: {} };
    const { body } = await t.json('PATCH', `${serving}/services/a/status`, status, {
      'content-type': 'application/merge-patch+json',
    });
    assert.deepEqual(body['status'], { url: 'http://y' });
    assert.equal(body.metadata['generation'], 1);
    assert.equal((await t.json('PUT', `${serving}/services/a/status`, { status: { url: 1 } })).status, 400);
  });
});

describe('watching through the API', () => {
  it('begins with the present, tells every change, and who enters and leaves a selection', async () => {
    await using t = await setUp();
    await t.json('POST', `${serving}/services`, service('a', 'localhost/a:1', { labels: { x: '1' } }));
    await using watch = await t.watch(`${serving}/services?watch=1&labelSelector=x%3D1`);
    assert.equal((await watch.next())?.type, 'ADDED');
    const label = (x: string) =>
      t.json(
        'PATCH',
        `${serving}/services/a`,
        { metadata: { labels: { x } } },
        { 'content-type': 'application/merge-patch+json' },
      );
    await label('2');
    assert.equal((await watch.next())?.type, 'DELETED');
    await label('1');
    assert.equal((await watch.next())?.type, 'ADDED');
    await t.json('DELETE', `${serving}/services/a`);
    assert.equal((await watch.next())?.type, 'DELETED');
  });

  it('sends initial events and marks their end', async () => {
    await using t = await setUp();
    await t.json('POST', `${serving}/services`, service('a'));
    const list = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    await using watch = await t.watch(`${serving}/services?watch=1&${list}`);
    assert.equal((await watch.next())?.type, 'ADDED');
    const end = await watch.next();
    assert.equal(end?.type, 'BOOKMARK');
    assert.deepEqual(end?.object.metadata['annotations'], { 'k8s.io/initial-events-end': 'true' });
    assert.equal((await t.json('GET', `${serving}/services?watch=1&sendInitialEvents=true`)).status, 422);
  });

  it('goes on from a version, ends in time, and says when the version is gone', async () => {
    await using t = await setUp();
    const { body } = await t.json('GET', `${serving}/services`);
    await t.json('POST', `${serving}/services`, service('a'));
    await using watch = await t.watch(
      `${serving}/services?watch=1&timeoutSeconds=5&resourceVersion=${String(body.metadata['resourceVersion'])}`,
    );
    assert.equal((await watch.next())?.type, 'ADDED');
    const end = watch.next();
    t.clock.advance(5000);
    assert.equal(await end, undefined);
    await using gone = await t.watch(`${serving}/services?watch=1&resourceVersion=12345`);
    const error = await gone.next();
    assert.deepEqual([error?.type, error?.object['code'], error?.object['reason']], ['ERROR', 410, 'Expired']);
  });

  it('ends when the server stops', async () => {
    await using t = await setUp();
    await using watch = await t.watch(`${serving}/services?watch=1`);
    const end = watch.next();
    t.stop.abort();
    assert.equal(await end, undefined);
  });

  it('sends tables, the columns once', async () => {
    await using t = await setUp();
    const accept = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' };
    const { body } = await t.json('GET', `${serving}/services`, undefined, accept);
    assert.deepEqual(
      (body['columnDefinitions'] as Json[]).map((c) => c['name']),
      ['Name', 'URL', 'LatestCreated', 'LatestReady', 'Ready', 'Reason'],
    );
    await using watch = await t.watch(`${serving}/services?watch=1`, accept);
    for (const name of ['a', 'b']) await t.json('POST', `${serving}/services`, service(name));
    const [one, two] = [await watch.next(), await watch.next()];
    assert.equal((one?.object['columnDefinitions'] as Json[]).length, 6);
    assert.equal((two?.object['columnDefinitions'] as Json[]).length, 0);
    const [row] = two?.object['rows'] as { cells: unknown[]; object: Json }[];
    assert.equal(row?.cells[0], 'b');
    assert.equal(row?.object['kind'], 'PartialObjectMetadata');
  });
});

describe('pods', () => {
  it('are listed, watched and logged from the view', async () => {
    await using t = await setUp();
    t.set(['a', 'Running'], ['b', 'Pending']);
    const pods = '/api/v1/namespaces/default/pods';
    const { body } = await t.json('GET', `${pods}?labelSelector=name%3Da`);
    assert.deepEqual(
      body.items.map((p) => p.metadata.name),
      ['a'],
    );
    assert.equal((await t.json('GET', '/api/v1/pods')).body.items.length, 2);
    assert.equal((await t.json('GET', '/api/v1/namespaces/other/pods')).body.items.length, 0);
    assert.equal((await t.json('GET', `${pods}/c`)).status, 404);
    await using watch = await t.watch(`${pods}?watch=1&resourceVersion=${String(body.metadata['resourceVersion'])}`);
    const next = watch.next();
    t.set(['b', 'Running']);
    const events = [await next, await watch.next()];
    assert.deepEqual(
      events.map((e) => [e?.type, e?.object.metadata['name']]),
      [
        ['DELETED', 'a'],
        ['MODIFIED', 'b'],
      ],
    );
    assert.equal(await (await t.send('GET', `${pods}/b/log`)).text(), 'b says hi\nand bye\n');
    assert.equal(await (await t.send('GET', `${pods}/b/log?limitBytes=3`)).text(), 'b s');
    assert.equal((await t.json('GET', `${pods}/b/log?tailLines=x`)).status, 400);
    assert.equal((await t.json('POST', pods, {})).status, 405);
  });

  it('give every version once, whatever the view does between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uniqueArray(fc.constantFrom('a', 'b', 'c'))), async (states) => {
        const { view, set } = createView();
        using pods = podCollection(view, new FakeClock());
        const { resourceVersion } = await pods.list({});
        const abort = new AbortController();
        const seen = new Map<string, string>();
        for (const [i, names] of states.entries()) {
          set(...names.map((name): [string, string] => [name, i % 2 === 0 ? 'Running' : 'Pending']));
          if (i % 2 === 0) await pods.list({});
        }
        const { items, resourceVersion: last } = await pods.list({});
        if (last !== resourceVersion) {
          for await (const event of pods.watch({ fromVersion: resourceVersion, signal: abort.signal })) {
            if (event.type === 'BOOKMARK') continue;
            const { name, resourceVersion: version = '' } = event.object.metadata;
            assert.equal(event.type === 'ADDED', !seen.has(name));
            if (event.type === 'DELETED') seen.delete(name);
            else seen.set(name, version);
            if (version === last) break;
          }
        }
        assert.deepEqual(
          [...seen].sort(),
          items.map((p) => [p.metadata.name, p.metadata.resourceVersion]),
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe('anything that anybody sends', () => {
  it('is never answered with a 500', async () => {
    await using t = await setUp();
    await t.json('POST', `${serving}/services`, service('a'));
    await t.json('POST', '/api/v1/namespaces/default/configmaps', { metadata: { name: 'a' }, data: { a: 'b' } });
    const words = [
      'metadata',
      'name',
      'spec',
      'template',
      'containers',
      'labels',
      'annotations',
      'data',
      'finalizers',
      'a',
    ];
    const more = [
      'ownerReferences',
      'involvedObject',
      'status',
      'uid',
      '__proto__',
      '$patch',
      'op',
      'path',
      'value',
      'preconditions',
    ];
    const key = fc.constantFrom(...words, ...more);
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.oneof(
          fc.string(),
          fc.integer(),
          fc.constant(null),
          fc.boolean(),
          fc.constantFrom('a', '', 'default', '/spec'),
        ),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
      ),
    }));
    const types = [
      'json',
      'yaml',
      'vnd.kubernetes.protobuf',
      'apply-patch+yaml',
      'json-patch+json',
      'merge-patch+json',
      'strategic-merge-patch+json',
      'octet-stream',
    ];
    const resources = kinds.map((k) => {
      const base = k.group === '' ? '/api/v1' : `/apis/${k.group}/${k.version}`;
      return `${base}${k.namespaced ? '/namespaces/default' : ''}/${k.plural}`;
    });
    const query = fc.dictionary(
      fc.constantFrom(
        'labelSelector',
        'fieldSelector',
        'limit',
        'continue',
        'resourceVersion',
        'dryRun',
        'fieldValidation',
        'propagationPolicy',
        'resourceVersionMatch',
        'fieldManager',
        'force',
      ),
      fc.oneof(fc.string(), fc.constantFrom('All', 'a=b', '1', 'metadata.name=a', 'Strict', 'Orphan', 'Exact')),
      { maxKeys: 3 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
        fc.constantFrom(...resources, '/api/v1/namespaces', '/openapi/v3', '/openapi/v2', '/apis', ''),
        fc.constantFrom('', '/a', '/a/status', '/a/log', '/%00', '/%ff', '/..%2f'),
        query,
        fc.constantFrom(...types),
        fc.oneof(
          tree.map((v) => JSON.stringify(v)),
          fc.string(),
          fc.constant('{"apiVersion":"v1"}'),
        ),
        async (method, resource, rest, parameters, type, body) => {
          const path = `${resource}${rest}?${new URLSearchParams(parameters).toString()}`;
          const hasBody = method !== 'GET' && method !== 'OPTIONS';
          const response = await t.send(method, path, hasBody ? body : undefined, {
            'content-type': `application/${type}`,
          });
          await response.body?.cancel();
          assert.ok(
            response.status < 500 || response.status === 504,
            `${response.status} for ${method} ${path} ${body}`,
          );
        },
      ),
      { numRuns: 1500 },
    );
  });
});
