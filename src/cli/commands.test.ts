import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { commands } from './commands.ts';
import type { Pod, Service } from './kube.ts';
import { json, makeReady, servicesPath, startFakeApi, type FakeApi } from './testing/fake-api.ts';
import { runCli } from './testing/run-cli.ts';

const pods = '/api/v1/namespaces/default/pods';

describe('the commands', () => {
  let api: FakeApi;
  before(async () => {
    api = await startFakeApi();
    const hello: Service = {
      apiVersion: 'serving.knative.dev/v1',
      kind: 'Service',
      metadata: { name: 'hello', namespace: 'default', generation: 1, creationTimestamp: new Date().toISOString() },
      spec: { template: { spec: { containers: [{ image: 'x', env: [{ name: 'KEY', value: 'hidden' }] }] } } },
    };
    makeReady(hello);
    api.objects.set(`${servicesPath}/hello`, hello);
    const pod = (name: string, state: object, ready = false): Pod => ({
      metadata: { name, namespace: 'default', labels: { 'serving.knative.dev/service': 'hello' } },
      status: { phase: 'Running', containerStatuses: [{ ready, state }] },
    });
    api.objects.set(`${pods}/a`, pod('a', { running: {} }, true));
    api.objects.set(`${pods}/b`, pod('b', { waiting: { reason: 'Standby' } }));
    api.objects.set(`${pods}/c`, pod('c', { terminated: { reason: 'OOMKilled\x1b[2J' } }));
  });
  after(() => api[Symbol.asyncDispose]());
  const ebb = (...args: string[]) => runCli(args, { dataDir: api.dataDir });

  it('services: a table, and counts what runs without the standbys', async () => {
    const { out, code } = await ebb('services');
    assert.equal(code, 0);
    const [heading, row] = out.split('\n');
    assert.match(heading!, /^NAME +URL +REVISION +INSTANCES +AGE +READY +REASON$/);
    assert.match(row!, /^hello +http:\/\/hello\.default\.localhost:8080 +hello-00001 +1 +\ds +True +-$/);
    assert.doesNotMatch(out, /\x1b/);
  });

  it('services: json, yaml and name', async () => {
    const fromJson = JSON.parse((await ebb('services', '-o', 'json')).out) as { items: Service[] };
    const fromYaml = parse((await ebb('--output=yaml', 'services')).out) as object;
    assert.equal(fromJson.items[0]!.metadata.name, 'hello');
    assert.deepEqual(fromYaml, fromJson);
    assert.equal((await ebb('services', '-o', 'name')).out, 'service.serving.knative.dev/hello\n');
  });

  it('services: colour on a terminal, none with NO_COLOR', async () => {
    assert.match((await runCli(['services'], { dataDir: api.dataDir, tty: true })).out, /\x1b\[32mTrue/);
    const plain = await runCli(['services'], { dataDir: api.dataDir, tty: true, env: { NO_COLOR: '1' } });
    assert.doesNotMatch(plain.out, /\x1b/);
  });

  it('instances: states in one word, control characters kept from the terminal', async () => {
    const { out } = await ebb('instances', 'hello');
    assert.match(out, /^a .*Ready/m);
    assert.match(out, /^b .*Standby/m);
    assert.match(out, /^c .*OOMKilled\[2J/m);
    assert.doesNotMatch(out, /\x1b/);
    assert.ok(api.calls.some((call) => call.includes('labelSelector=serving.knative.dev%2Fservice%3Dhello')));
  });

  it('describe: names variables, never their values', async () => {
    const { out, code } = await ebb('describe', 'hello');
    assert.equal(code, 0);
    assert.match(out, /hello in default: ready/);
    assert.match(out, /Variables +KEY/);
    assert.doesNotMatch(out, /hidden/);
  });

  it('logs: text, json, prefix, and the seconds of --since', async () => {
    api.on('GET /apis/ebb.dev/v1alpha1/namespaces/default/services/hello/log', (_, response) => {
      response.end('{"instance":"a","time":"T","text":"one"}\n{"instance":"b","time":"T","text":""}\n');
    });
    assert.equal((await ebb('logs', 'hello', '--since', '90s')).out, 'one\n\n');
    assert.ok(api.calls.some((call) => call.endsWith('log?sinceSeconds=90')));
    assert.equal((await ebb('logs', 'hello', '--prefix', '--timestamps')).out, 'T [a] one\nT [b] \n');
    assert.equal(
      (await ebb('logs', 'hello', '-o', 'json')).out.split('\n')[0],
      '{"instance":"a","time":"T","text":"one"}',
    );
  });

  it('logs -f: ends in peace on Ctrl-C', async () => {
    const stop = new AbortController();
    api.on('GET /apis/ebb.dev/v1alpha1/namespaces/default/services/slow/log', (_, response) => {
      response.write('{"text":"first"}\n');
      setTimeout(() => stop.abort(), 50);
    });
    const ran = await runCli(['logs', 'slow', '-f'], { dataDir: api.dataDir, signal: stop.signal });
    assert.deepEqual([ran.code, ran.out], [0, 'first\n']);
  });

  it('invoke: calls the gateway by address with the service in Host, and tells cold from warm', async () => {
    const gateway = createServer((request, response) => {
      response.setHeader('server-timing', 'queue;dur=12.0, cold');
      response.statusCode = request.url === '/no' ? 500 : 200;
      response.end(`${request.method} ${request.headers.host} ${request.url} ${request.headers['x-a'] ?? ''}`);
    }).listen(0, '127.0.0.1');
    await once(gateway, 'listening');
    const { port } = gateway.address() as AddressInfo;
    api.on('GET /apis/ebb.dev/v1alpha1/status', (_, response) =>
      json(response, 200, { gateway: { address: `0.0.0.0:${port}` } }),
    );
    try {
      const ran = await ebb('invoke', 'hello', '/p?q=1', '-d', 'body', '-H', 'X-A: 1', '--timing');
      assert.equal(ran.out, 'POST hello.default.localhost:8080 /p?q=1 1');
      assert.match(ran.err, /^cold start: [\d.]+ ms/);
      assert.equal((await ebb('invoke', 'hello', '/no')).code, 1);
      assert.equal((await ebb('invoke', 'hello', 'no-slash')).code, 2);
      assert.equal((await ebb('invoke', 'nope')).code, 3);
    } finally {
      gateway.closeAllConnections();
      gateway.close();
    }
  });

  it('delete: waits until all is gone; a name that is not there is 3, or fine when asked', async () => {
    api.objects.set(`${servicesPath}/old`, { metadata: { name: 'old', namespace: 'default' } });
    const kept = new Map([...api.objects].filter(([key]) => key.startsWith(pods)));
    for (const key of kept.keys()) api.objects.delete(key);
    const ran = await ebb('delete', 'old');
    assert.deepEqual([ran.code, ran.out], [0, 'old deleted\n']);
    assert.equal((await ebb('delete', 'old')).code, 3);
    assert.equal((await ebb('delete', 'old', '--ignore-not-found')).code, 0);
    for (const [key, pod] of kept) api.objects.set(key, pod);
  });

  it('kubeconfig: the file, its path, or as JSON', async () => {
    assert.match((await ebb('kubeconfig')).out, /^apiVersion: v1/);
    assert.equal((await ebb('kubeconfig', '--path')).out, `${api.dataDir}/kubeconfig\n`);
    assert.equal((JSON.parse((await ebb('kubeconfig', '-o', 'json')).out) as { kind: string }).kind, 'Config');
  });
});

describe('ebb', () => {
  it('every command has help with an example', async () => {
    for (const { name } of commands) {
      const { out, code } = await runCli([name, '--help']);
      assert.equal(code, 0);
      assert.match(out, /Examples?:\n {2}\$ /, name);
    }
  });

  it('suggests what was meant, and exits 2', async () => {
    const ran = await runCli(['servics']);
    assert.equal(ran.code, 2);
    assert.match(ran.err, /unknown command 'servics'[\s\S]*services/);
  });

  it('exits 4 in one sentence when there is no Ebb', async () => {
    for (const command of ['services', 'status', 'kubeconfig']) {
      const ran = await runCli([command], { dataDir: '/no/such/dir' });
      assert.equal(ran.code, 4);
      assert.match(ran.err, /^ebb: there is no kubeconfig at \/no\/such\/dir\/kubeconfig: start Ebb with .*\n$/);
    }
  });

  it("exits 4 when nobody listens, and says so when the certificate is another's", async () => {
    const one = await startFakeApi();
    const other = await startFakeApi();
    try {
      const ran = await runCli(['services', '--kubeconfig', `${one.dataDir}/kubeconfig`], { dataDir: one.dataDir });
      assert.equal(ran.code, 0);
      const mixed = await mixedKubeconfig(one, other);
      const refused = await runCli(['services', '--kubeconfig', mixed]);
      assert.equal(refused.code, 4);
      assert.match(refused.err, /certificate that this kubeconfig does not know/);
    } finally {
      await other[Symbol.asyncDispose]();
    }
    const { dataDir } = one;
    const { cpSync, rmSync } = await import('node:fs');
    cpSync(dataDir, `${dataDir}-kept`, { recursive: true });
    await one[Symbol.asyncDispose]();
    const gone = await runCli(['services'], { dataDir: `${dataDir}-kept` });
    rmSync(`${dataDir}-kept`, { recursive: true });
    assert.equal(gone.code, 4);
    assert.match(gone.err, /cannot reach Ebb at https:\/\/127\.0\.0\.1:\d+ \(ECONNREFUSED\)/);
  });
});

async function mixedKubeconfig(one: FakeApi, other: FakeApi): Promise<string> {
  const { readFileSync, writeFileSync } = await import('node:fs');
  const file = `${one.dataDir}/mixed`;
  writeFileSync(file, readFileSync(`${one.dataDir}/kubeconfig`, 'utf8').replace(`:${one.port}`, `:${other.port}`));
  return file;
}
