import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../platform/clock.ts';
import { silentLogger } from '../../platform/logger.ts';
import { kinds } from '../../resources/api.ts';
import { openSqliteStore } from '../../store/sqlite/store.ts';
import { createApp } from '../app.ts';
import { bearerToken } from '../token.ts';
import { anyOf, serviceAccountTokens } from './authenticate.ts';
import { openTokenIssuer } from './issuer.ts';

const account = { namespace: 'default', name: 'robot', uid: 'u' };

async function setUp() {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-tokens-'));
  const clock = new FakeClock();
  const store = await openSqliteStore({ file: ':memory:', clock });
  await store.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } });
  const tokens = await openTokenIssuer({ dir, clock });
  const app = createApp({
    ...{ store, kinds, clock, tokens, views: {}, logger: silentLogger, version: '0' },
    authenticate: anyOf(bearerToken('secret'), serviceAccountTokens(tokens, store)),
    signal: new AbortController().signal,
  });
  const send = (method: string, path: string, body?: unknown, token = 'secret') =>
    app.request(path, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const dispose = async () => {
    await store[Symbol.asyncDispose]();
    await rm(dir, { recursive: true });
  };
  return { dir, clock, store, tokens, send, [Symbol.asyncDispose]: dispose };
}

describe('tokens of service accounts', () => {
  it('are known until they expire, by the same key after a restart', async () => {
    await using t = await setUp();
    const { token } = t.tokens.issue(account, { expirationSeconds: 600 });
    assert.deepEqual(t.tokens.verify(token), account);
    const again = await openTokenIssuer({ dir: t.dir, clock: t.clock });
    assert.deepEqual(again.verify(token), account);
    assert.deepEqual(again.jwks, t.tokens.jwks);
    assert.equal((await stat(join(t.dir, 'service-account.key'))).mode & 0o777, 0o600);
    t.clock.advance(600_000);
    assert.equal(again.verify(token), undefined);
    await writeFile(join(t.dir, 'service-account.key'), 'damaged');
    const other = await openTokenIssuer({ dir: t.dir, clock: t.clock });
    assert.notDeepEqual(other.jwks, t.tokens.jwks);
  });

  it('for others are not for the API server', async () => {
    await using t = await setUp();
    const { token } = t.tokens.issue(account, { audiences: ['https://else.example.com'], expirationSeconds: 600 });
    assert.equal(t.tokens.verify(token), undefined);
  });

  it('are refused once a single character is another', async () => {
    await using t = await setUp();
    const { token } = t.tokens.issue(account, { expirationSeconds: 600 });
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    for (const wrong of ['', '.', '..', 'a.b.c', `${token}.`, `${none}.${token.split('.')[1]}.`, 'x'.repeat(100_000)]) {
      assert.equal(t.tokens.verify(wrong), undefined, wrong.slice(0, 100));
    }
    fc.assert(
      fc.property(fc.nat(token.length - 2), fc.constantFrom('A', 'z', '.', '%', 'ü'), (at, character) => {
        const changed = token.slice(0, at) + character + token.slice(at + 1);
        assert.equal(t.tokens.verify(changed) !== undefined, changed === token);
      }),
      { numRuns: 200 },
    );
  });

  it('are given out by the API, let their account look around but no further, and go with it', async () => {
    await using t = await setUp();
    const accounts = '/api/v1/namespaces/default/serviceaccounts';
    assert.equal((await t.send('POST', accounts, { metadata: { name: 'robot' } })).status, 201);
    const asked = await t.send('POST', `${accounts}/robot/token`, { spec: { expirationSeconds: 700 } });
    assert.equal(asked.status, 201);
    const { status, spec } = (await asked.json()) as { status: { token: string }; spec: { audiences: string[] } };
    assert.deepEqual(spec.audiences, [t.tokens.issuer]);
    const as = (method: string, path: string, body?: unknown) => t.send(method, path, body, status.token);
    for (const path of ['/version', '/api', '/apis', '/api/v1', '/apis/serving.knative.dev/v1', '/openid/v1/jwks']) {
      assert.equal((await as('GET', path)).status, 200, path);
    }
    for (const [method, path] of [
      ['GET', '/api/v1/secrets'],
      ['GET', '/api/v1/namespaces'],
      ['GET', '/apis/serving.knative.dev/v1/services'],
      ['GET', '/apis/ebb.dev/v1alpha1/status'],
      ['POST', accounts],
      ['POST', `${accounts}/robot/token`],
      ['DELETE', '/api'],
    ] as const) {
      const refused = await as(method, path, method === 'POST' ? {} : undefined);
      assert.equal(refused.status, 403, path);
      assert.match(
        ((await refused.json()) as { message: string }).message,
        /"system:serviceaccount:default:robot" cannot/,
      );
    }
    const review = { spec: { resourceAttributes: { verb: 'get', resource: 'secrets' } } };
    const may = await as('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', review);
    assert.equal(((await may.json()) as { status: { allowed: boolean } }).status.allowed, false);
    await t.send('DELETE', `${accounts}/robot`);
    assert.equal((await as('GET', '/version')).status, 401);
    await t.send('POST', accounts, { metadata: { name: 'robot' } });
    assert.equal((await as('GET', '/version')).status, 401);
  });

  it('are not given out for nonsense', async () => {
    await using t = await setUp();
    const accounts = '/api/v1/namespaces/default/serviceaccounts';
    assert.equal((await t.send('POST', `${accounts}/none/token`, {})).status, 404);
    await t.send('POST', accounts, { metadata: { name: 'robot' } });
    const wrong = [
      { expirationSeconds: 1 },
      { expirationSeconds: 1e12 },
      { expirationSeconds: 'x' },
      { audiences: 'a' },
      { audiences: Array.from({ length: 11 }, () => 'a') },
      { boundObjectRef: { kind: 'Pod', name: 'p' } },
      [],
      7,
    ];
    for (const spec of wrong) {
      assert.equal((await t.send('POST', `${accounts}/robot/token`, { spec })).status, 422, JSON.stringify(spec));
    }
  });
});
