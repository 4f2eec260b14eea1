import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { request, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FakeClock, systemClock } from '../platform/clock.ts';
import type { EbbError } from '../platform/errors.ts';
import { silentLogger } from '../platform/logger.ts';
import { kinds } from '../resources/api.ts';
import { openSqliteStore } from '../store/sqlite/store.ts';
import type { ResourceStore } from '../store/store.ts';
import { readKubeconfig, writeKubeconfig } from './kubeconfig.ts';
import { ensurePki } from './pki.ts';
import { startApiServer } from './server.ts';
import { bearerToken, ensureToken } from './token.ts';

async function inTemporary(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-api-'));
  try {
    await body(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

async function start(dir: string, store: ResourceStore, port = 0) {
  const tls = await ensurePki({ dir: join(dir, 'pki'), clock: systemClock });
  const token = await ensureToken(join(dir, 'pki'));
  const common = { store, kinds, views: {}, clock: systemClock, logger: silentLogger };
  const api = await startApiServer({
    ...common,
    listen: { host: '127.0.0.1', port },
    tls,
    authenticate: bearerToken(token),
  });
  return { api, ca: tls.ca, token };
}

async function get(url: string, options: RequestOptions): Promise<IncomingMessage> {
  const sent = request(url, { ...options, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

describe('the API server on a socket', () => {
  it('answers a quiet watch at once, and forgets it when the client goes', () =>
    inTemporary(async (dir) => {
      await using real = await openSqliteStore({ file: ':memory:', clock: systemClock });
      let ended: () => void = () => undefined;
      const watchEnded = new Promise<void>((resolve) => (ended = resolve));
      const store: ResourceStore = {
        get: (key) => real.get(key),
        list: (kind, options) => real.list(kind, options),
        create: (object) => real.create(object),
        update: (object) => real.update(object),
        updateStatus: (object) => real.updateStatus(object),
        delete: (key, options) => real.delete(key, options),
        async *watch(kind, options) {
          try {
            yield* real.watch(kind, options) as AsyncGenerator<never>;
          } finally {
            ended();
          }
        },
        [Symbol.asyncDispose]: () => real[Symbol.asyncDispose](),
      };
      const { api, ca, token } = await start(dir, store);
      await using _api = api;
      const headers = { authorization: `Bearer ${token}` };
      const response = await get(`${api.url}/api/v1/configmaps?watch=1`, { ca, headers });
      assert.equal(response.statusCode, 200);
      response.destroy();
      await watchEnded;
    }));

  it('stops while watches are open, and says when its port is taken', () =>
    inTemporary(async (dir) => {
      await using store = await openSqliteStore({ file: ':memory:', clock: systemClock });
      const { api, ca, token } = await start(dir, store);
      await assert.rejects(start(dir, store, api.address.port), (e: EbbError) => e.code === 'AddressInUse');
      const headers = { authorization: `Bearer ${token}` };
      const response = await get(`${api.url}/api/v1/configmaps?watch=1`, { ca, headers });
      const end = once(response.resume(), 'end');
      await api[Symbol.asyncDispose]();
      await end;
    }));
});

describe('certificates', () => {
  it('are kept, renewed before their end, and made anew for another host or when damaged', () =>
    inTemporary(async (dir) => {
      const clock = new FakeClock(Date.now());
      const first = await ensurePki({ dir, clock });
      assert.deepEqual(await ensurePki({ dir, clock }), first);
      assert.equal((await stat(join(dir, 'ca.key'))).mode & 0o777, 0o600);
      const certificate = new X509Certificate(first.cert);
      assert.ok(certificate.checkIP('127.0.0.1') && certificate.checkHost('kubernetes.default.svc'));
      const other = await ensurePki({ dir, clock, hosts: ['ebb.example', '10.1.2.3'] });
      assert.equal(other.ca, first.ca);
      assert.ok(new X509Certificate(other.cert).checkHost('ebb.example'));
      clock.advance(340 * 86_400_000);
      const renewed = await ensurePki({ dir, clock, hosts: ['ebb.example'] });
      assert.equal(renewed.ca, first.ca);
      assert.notEqual(renewed.cert, other.cert);
      await writeFile(join(dir, 'ca.crt'), 'damaged');
      const again = await ensurePki({ dir, clock });
      assert.notEqual(again.ca, first.ca);
      assert.ok(new X509Certificate(again.cert).verify(new X509Certificate(again.ca).publicKey));
    }));
});

describe('tokens and kubeconfigs', () => {
  it('keep the token, and come back as they were written', () =>
    inTemporary(async (dir) => {
      const token = await ensureToken(dir);
      assert.match(token, /^[\w-]{43}$/);
      assert.equal(await ensureToken(dir), token);
      await chmod(join(dir, 'admin.token'), 0o600);
      const file = join(dir, 'kubeconfig');
      const access = { server: 'https://127.0.0.1:8470', ca: 'PEM\n', token };
      await writeKubeconfig(file, access);
      assert.equal((await stat(file)).mode & 0o777, 0o600);
      assert.deepEqual(await readKubeconfig(file), access);
      await writeFile(file, (await readFile(file, 'utf8')).replace('current-context: ebb', 'current-context: none'));
      await assert.rejects(readKubeconfig(file), (e: EbbError) => e.code === 'KubeconfigInvalid');
      await writeFile(file, ':\n- [');
      await assert.rejects(readKubeconfig(file), (e: EbbError) => e.code === 'KubeconfigInvalid');
      await assert.rejects(readKubeconfig(join(dir, 'none')), (e: EbbError) => e.code === 'KubeconfigMissing');
    }));
});
