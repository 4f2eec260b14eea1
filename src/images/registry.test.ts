import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { systemClock } from '../platform/clock.ts';
import { systemSpawner, type Spawner } from '../platform/spawn.ts';
import { parseChallenges } from './challenge.ts';
import { findCredentials } from './credentials.ts';
import { digestOf } from './digest.ts';
import { startFakeRegistry, type FakeRegistry } from './fake-registry.ts';
import { parseReference } from './reference.ts';
import { RegistryClient } from './registry.ts';

let dir: string;
let fake: FakeRegistry;
let client: RegistryClient;
const http = { headTimeoutMs: 2000, idleTimeoutMs: 2000, attempts: 3, backoffMs: 1 };

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ebb-registry-'));
  fake = await startFakeRegistry();
  const dockerConfigPath = join(dir, 'config.json');
  client = new RegistryClient({
    clock: systemClock,
    spawner: systemSpawner,
    dockerConfigPath,
    insecureRegistries: [],
    http,
  });
});
afterEach(async () => {
  await client[Symbol.asyncDispose]();
  await fake[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const login = (registry: string, user: string, password: string) =>
  writeFile(
    join(dir, 'config.json'),
    JSON.stringify({ auths: { [registry]: { auth: Buffer.from(`${user}:${password}`).toString('base64') } } }),
  );
const reference = (name: string) => parseReference(`${fake.host}/${name}`);
const blobOf = (bytes: Buffer) => {
  fake.blobs.set(digestOf(bytes), bytes);
  return { mediaType: 'x', digest: digestOf(bytes), size: bytes.length };
};
const fetchBlob = async (bytes: Buffer) => Buffer.concat(await client.blob(reference('a'), blobOf(bytes)).toArray());

describe('registry client', () => {
  it('names the tags that there are', async () => {
    fake.push('hi:3', []);
    fake.push('hi:2', []);
    await assert.rejects(client.manifest(reference('hi:1'), {}), {
      code: 'ImageNotFound',
      message: `image "${fake.host}/hi:1": no such tag; pushed tags are 2, 3`,
    });
    await assert.rejects(client.manifest(reference('no:1'), {}), {
      code: 'ImageNotFound',
      message: /has no repository "no"/,
    });
  });

  it('verifies a manifest asked for by digest', async () => {
    const { digest } = fake.push('a:1', []);
    assert.equal((await client.manifest(reference(`a@${digest}`), {})).digest, digest);
    fake.manifests.set(`a@${digest}`, { bytes: Buffer.from('{}'), mediaType: 'x' });
    await assert.rejects(client.manifest(reference(`a@${digest}`), {}), { code: 'ImageCorrupt' });
  });

  it('resumes a blob where the connection broke', async () => {
    const bytes = Buffer.alloc(900_000, 'abc');
    let cuts = 0;
    fake.intercept = (request, response) => {
      if (!request.url?.includes('/blobs/') || cuts++ > 0) return false;
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 400_000), () => response.destroy());
      return true;
    };
    assert.ok((await fetchBlob(bytes)).equals(bytes));
    assert.equal(cuts, 2);
  });

  it('passes by what it has when the registry starts over', async () => {
    const bytes = Buffer.alloc(900_000, 'abcd');
    let cuts = 0;
    fake.intercept = (_request, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      if (cuts++ > 0) response.end(bytes);
      else response.write(bytes.subarray(0, 300_001), () => response.destroy());
      return true;
    };
    assert.ok((await fetchBlob(bytes)).equals(bytes));
  });

  it('gives up on a registry that never gets further', async () => {
    fake.intercept = (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('x', () => response.destroy());
      return true;
    };
    await assert.rejects(fetchBlob(Buffer.alloc(100)), { code: 'RegistryUnreachable' });
    fake.intercept = (_request, response) => Boolean(response.writeHead(503).end());
    await assert.rejects(client.manifest(reference('a'), {}), { code: 'RegistryUnreachable', message: /answers 503/ });
  });

  it('says so when nobody listens', async () => {
    await fake[Symbol.asyncDispose]();
    await assert.rejects(client.manifest(reference('a'), {}), { code: 'RegistryUnreachable', message: /ECONNREFUSED/ });
    fake = await startFakeRegistry();
  });

  it('follows redirects without handing on its credentials', async () => {
    await using other = await startFakeRegistry();
    const bytes = Buffer.from('layer');
    await login(fake.host, 'me', 'secret');
    other.blobs.set(digestOf(bytes), bytes);
    fake.intercept = (request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else response.writeHead(307, { location: `http://${other.host}${request.url}` }).end();
      return true;
    };
    assert.equal((await fetchBlob(bytes)).toString(), 'layer');
    assert.deepEqual(other.authorizations, [undefined]);
    assert.ok(fake.authorizations.includes(`Basic ${Buffer.from('me:secret').toString('base64')}`));
  });

  it('does not follow redirects without end', async () => {
    fake.intercept = (request, response) => Boolean(response.writeHead(302, { location: request.url }).end());
    await assert.rejects(client.manifest(reference('a'), {}), { code: 'RegistryUnreachable', message: /redirects/ });
  });

  it('exchanges credentials for a token, once', async () => {
    fake.push('a:1', []);
    await login(fake.host, 'me', 'secret');
    fake.intercept = (request, response) => {
      if (request.url?.startsWith('/token?')) {
        const isMe = request.headers.authorization === `Basic ${Buffer.from('me:secret').toString('base64')}`;
        response.writeHead(isMe ? 200 : 401).end(JSON.stringify({ token: 'tok', expires_in: 300 }));
        return true;
      }
      if (request.headers.authorization === 'Bearer tok') return false;
      const challenge = `Bearer realm="http://${fake.host}/token",service="s",scope="repository:a:pull"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
      return true;
    };
    await client.manifest(reference('a:1'), {});
    await client.manifest(reference('a:1'), {});
    assert.deepEqual(
      fake.requests.filter((line) => line.includes('/token')),
      ['GET /token?scope=repository%3Aa%3Apull&service=s'],
    );
    await login(fake.host, 'me', 'wrong');
    await assert.rejects(client.manifest(reference('b:1'), {}), {
      code: 'RegistryUnauthorized',
      message: /docker login/,
    });
  });

  it('stops when its caller goes', async () => {
    const stop = new AbortController();
    fake.intercept = () => {
      stop.abort(new Error('gone'));
      return true;
    };
    await assert.rejects(client.manifest(reference('a'), { signal: stop.signal }), /gone/);
  });

  it('does not wait for a silent registry', async () => {
    const hasty = new RegistryClient({
      clock: systemClock,
      spawner: systemSpawner,
      dockerConfigPath: join(dir, 'none'),
      insecureRegistries: [],
      http: { ...http, headTimeoutMs: 20, attempts: 1 },
    });
    fake.intercept = () => true;
    await assert.rejects(hasty.manifest(reference('a'), {}), { code: 'RegistryUnreachable', message: /Timeout/i });
    await hasty[Symbol.asyncDispose]();
  });
});

describe('credentials', () => {
  const spawner: Spawner = {
    run: (command, _args, options) => {
      const isKnown = command === 'docker-credential-test' && options?.input === 'r.io';
      const stdout = JSON.stringify({ Username: 'u', Secret: 's' });
      return Promise.resolve(isKnown ? { code: 0, stdout, stderr: '' } : { code: 1, stdout: 'not found', stderr: '' });
    },
  };
  const find = async (registry: string, config: unknown) => {
    const configPath = join(dir, 'config.json');
    await writeFile(configPath, typeof config === 'string' ? config : JSON.stringify(config));
    return await findCredentials(registry, { configPath, spawner });
  };

  it('come from a helper, from auths under any of its spellings, or not at all', async () => {
    const auth = Buffer.from('u:p:q').toString('base64');
    const basic = { kind: 'basic', user: 'u', password: 'p:q' };
    assert.deepEqual(await find('r.io', { auths: { 'r.io': { auth } } }), basic);
    assert.deepEqual(await find('r.io', { auths: { 'https://r.io/v2/': { auth } } }), basic);
    assert.deepEqual(await find('docker.io', { auths: { 'https://index.docker.io/v1/': { auth } } }), basic);
    assert.deepEqual(await find('r.io', { auths: { 'r.io': { identitytoken: 't' } } }), {
      kind: 'identity',
      token: 't',
    });
    assert.deepEqual(await find('r.io', { credsStore: 'test' }), { kind: 'basic', user: 'u', password: 's' });
    assert.deepEqual(await find('r.io', { credHelpers: { 'r.io': 'test' } }), {
      kind: 'basic',
      user: 'u',
      password: 's',
    });
    assert.deepEqual(await find('q.io', { credsStore: 'test', auths: { 'q.io': { auth } } }), basic);
    assert.equal(await find('q.io', {}), undefined);
    assert.equal(await findCredentials('r.io', { configPath: join(dir, 'absent'), spawner }), undefined);
  });

  it('never quote the file in an error', async () => {
    await assert.rejects(find('r.io', '{"auths": "c2VjcmV0'), (error: Error) => !error.message.includes('c2Vj'));
    await assert.rejects(find('r.io', { credsStore: '../../bin/sh' }), { code: 'InvalidDockerConfig' });
    await chmod(join(dir, 'config.json'), 0o600);
  });
});

describe('challenges', () => {
  it('are read as RFC 9110 writes them', () => {
    const read = (header: string) => parseChallenges(header).map(({ scheme, params }) => ({ scheme, ...params }));
    assert.deepEqual(read('Bearer realm="https://a/t?x=1,2",service=r, scope="a:b \\"c\\""'), [
      { scheme: 'bearer', realm: 'https://a/t?x=1,2', service: 'r', scope: 'a:b "c"' },
    ]);
    assert.deepEqual(read('Basic realm="x", Bearer realm="y"'), [
      { scheme: 'basic', realm: 'x' },
      { scheme: 'bearer', realm: 'y' },
    ]);
    assert.deepEqual(read('Negotiate, Basic realm=""'), [{ scheme: 'negotiate' }, { scheme: 'basic', realm: '' }]);
    assert.deepEqual(read('"""'), []);
  });
});
