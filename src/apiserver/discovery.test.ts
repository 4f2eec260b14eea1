import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FakeClock } from '../platform/clock.ts';
import { silentLogger } from '../platform/logger.ts';
import { kinds } from '../resources/api.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import { createApp } from './app.ts';
import { administrator, bearerToken } from './token.ts';

type Json = Record<string, unknown>;
interface Discovered {
  metadata: { name: string };
  versions: {
    version: string;
    resources: {
      resource: string;
      scope: string;
      verbs: string[];
      singularResource: string;
      shortNames?: string[];
      responseKind: { kind: string };
      subresources?: { subresource: string; verbs: string[] }[];
    }[];
  }[];
}

async function setUp() {
  const clock = new FakeClock();
  const store = await openSqliteStore({ file: ':memory:', clock });
  const app = createApp({
    ...{ store, kinds, clock, views: {}, logger: silentLogger, version: '0' },
    authenticate: bearerToken('secret'),
    signal: new AbortController().signal,
  });
  const send = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
    app.request(path, {
      method,
      headers: { authorization: 'Bearer secret', 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const get = async <T>(path: string, headers?: Record<string, string>) =>
    (await (await send('GET', path, headers)).json()) as T;
  return { send, get, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

const aggregated = (version: string) => ({
  accept: `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`,
});

describe('discovery', () => {
  it('says the same in one document as in many', async () => {
    await using t = await setUp();
    for (const endpoint of ['/api', '/apis']) {
      const { items } = await t.get<{ items: Discovered[] }>(endpoint, aggregated('v2'));
      assert.ok(items.length > 0);
      for (const { metadata, versions } of items) {
        for (const { version, resources } of versions) {
          const path = metadata.name === '' ? `/api/${version}` : `/apis/${metadata.name}/${version}`;
          const plain = await t.get<{ resources: Json[] }>(path);
          const flat = resources.flatMap((r) => {
            const common = { namespaced: r.scope === 'Namespaced', kind: r.responseKind.kind };
            const subresources = (r.subresources ?? []).map(({ subresource, verbs }) => ({
              ...{ name: `${r.resource}/${subresource}`, singularName: '', ...common, verbs },
            }));
            return [{ name: r.resource, singularName: r.singularResource, ...common, verbs: r.verbs }, ...subresources];
          });
          const named = plain.resources.map(({ shortNames: _s, categories: _c, ...rest }) => rest);
          assert.deepEqual(flat, named, path);
        }
      }
    }
  });

  it('speaks the version that it is asked for, and is kept by its ETag', async () => {
    await using t = await setUp();
    for (const version of ['v2', 'v2beta1']) {
      const response = await t.send('GET', '/apis', aggregated(version));
      assert.match(response.headers.get('content-type') ?? '', new RegExp(`v=${version};as=APIGroupDiscoveryList`));
      assert.equal(((await response.json()) as Json)['apiVersion'], `apidiscovery.k8s.io/${version}`);
      const etag = response.headers.get('etag') ?? '';
      const again = await t.send('GET', '/apis', { ...aggregated(version), 'if-none-match': etag });
      assert.equal(again.status, 304);
    }
    assert.equal((await t.get<Json>('/apis', aggregated('v3')))['kind'], 'APIGroupList');
    assert.equal((await t.get<Json>('/api'))['kind'], 'APIVersions');
  });

  it('hides what nobody shows', async () => {
    await using t = await setUp();
    const { resources } = await t.get<{ resources: { name: string }[] }>('/api/v1');
    assert.ok(!resources.some((r) => r.name === 'pods'));
    assert.equal((await t.send('GET', '/api/v1/pods')).status, 404);
  });
});

describe('definitions of kinds', () => {
  it('are listed, selected, watched, and hold the schema', async () => {
    await using t = await setUp();
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    const { items, metadata } = await t.get<{ items: Json[]; metadata: { resourceVersion: string } }>(path);
    assert.equal(items.length, kinds.filter((k) => k.group === 'serving.knative.dev').length);
    assert.doesNotMatch(JSON.stringify(items), /x-ebb-/);
    const one = await t.get<{ spec: { names: Json } }>(`${path}/routes.serving.knative.dev`);
    assert.equal(one.spec.names['kind'], 'Route');
    assert.equal((await t.send('GET', `${path}/none`)).status, 404);
    const selected = await t.get<{ items: Json[] }>(`${path}?fieldSelector=metadata.name%3Droutes.serving.knative.dev`);
    assert.equal(selected.items.length, 1);
    const labelled = await t.get<{ items: Json[] }>(`${path}?labelSelector=duck.knative.dev/source%3Dtrue`);
    assert.equal(labelled.items.length, 0);
    assert.equal((await t.send('POST', path, {}, {})).status, 405);
    const watch = await t.send('GET', `${path}?watch=1&resourceVersion=${metadata.resourceVersion}`);
    await watch.body?.cancel();
    const old = await t.send('GET', `${path}?watch=1&resourceVersion=99`);
    assert.match(await old.text(), /"reason":"Expired"/);
  });
});

describe('reviews', () => {
  it('answer the administrator with yes, and nonsense with what is wrong', async () => {
    await using t = await setUp();
    const review = async (path: string, body: unknown) => {
      const response = await t.send('POST', `/apis/${path}`, {}, body);
      return { status: response.status, body: (await response.json()) as Json & { status: Json } };
    };
    const access = 'authorization.k8s.io/v1/selfsubjectaccessreviews';
    const yes = await review(access, { spec: { resourceAttributes: { verb: 'delete', resource: 'x' } } });
    assert.deepEqual([yes.status, yes.body.status['allowed']], [201, true]);
    const neither = await review(access, { spec: {} });
    assert.deepEqual([neither.status, neither.body['reason']], [400, 'BadRequest']);
    assert.match(String(neither.body['message']), /expected exactly one, got neither: spec\.resourceAttributes/);
    assert.equal((await review(access, {})).status, 400);
    assert.equal((await review(access, { kind: 'Pod', spec: {} })).status, 400);
    assert.equal(
      (await review(`${access}?fieldValidation=Strict`, { spec: { nonResourceAttributes: {}, x: 1 } })).status,
      400,
    );
    const rules = 'authorization.k8s.io/v1/selfsubjectrulesreviews';
    assert.equal((await review(rules, { spec: {} })).status, 400);
    assert.equal((await review(rules, { spec: { namespace: 'default' } })).body.status['incomplete'], false);
    const who = await review('authentication.k8s.io/v1/selfsubjectreviews', {});
    assert.deepEqual(who.body.status['userInfo'], { username: administrator.name, groups: administrator.groups });
    assert.equal((await t.send('GET', `/apis/${access}`)).status, 404);
  });
});
