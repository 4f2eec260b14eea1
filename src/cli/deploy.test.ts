import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { extract } from 'tar-stream';
import type { Service } from './kube.ts';
import { makeReady, servicesPath, startFakeApi, type FakeApi } from './testing/fake-api.ts';
import { runCli } from './testing/run-cli.ts';

const path = `${servicesPath}/app`;
const ready = (api: FakeApi) => (p: string) => setImmediate(() => api.change(p, makeReady));

describe('ebb deploy', () => {
  let api: FakeApi;
  let folder: string;
  before(async () => {
    api = await startFakeApi();
    folder = mkdtempSync(join(tmpdir(), 'ebb-cli-src-'));
  });
  after(async () => {
    await api[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    api.reset();
    api.settle = ready(api);
  });
  const deploy = (...args: string[]) => runCli(['deploy', ...args], { dataDir: api.dataDir });
  const spec = () => (api.objects.get(path) as Service).spec!.template!;

  it('sends the folder, creates the service of the image, waits and prints the URL alone on standard output', async () => {
    mkdirSync(join(folder, 'My_App'), { recursive: true });
    writeFileSync(join(folder, 'My_App', 'server.js'), 'hello');
    let sent: string[] = [];
    api.on('POST /apis/ebb.dev/v1alpha1/namespaces/default/builds', async (request, response) => {
      sent = await namesIn(request);
      response.write('{"type":"progress","message":"found a Node app"}\n');
      response.end('{"type":"done","reference":"ebb.local/default/my-app@sha256:1","detected":"node","sizeBytes":1}\n');
    });
    const ran = await deploy(join(folder, 'My_App'));
    assert.equal(ran.code, 0, ran.err);
    assert.deepEqual(sent, ['server.js']);
    assert.equal(ran.out, 'http://my-app.default.localhost:8080\n');
    assert.match(ran.err, /found a Node app[\s\S]*service my-app created[\s\S]*my-app ready in \d+ ms/);
  });

  it('turns every option into Knative fields', async () => {
    const ran = await deploy(
      ...['--image', 'reg.example/app@sha256:1', '--name', 'app', '--env', 'A=1', '--env', 'B=x=y', '--port', '3000'],
      ...['--concurrency', '5', '--min', '1', '--max', '3', '--cpu', '500m', '--memory', '64Mi', '--http2'],
      ...['--scale-to-zero-after', '10s', '--command', 'node', '--arg', '-e', '--arg', '1', '--annotation', 'a/b=c'],
    );
    assert.equal(ran.code, 0, ran.err);
    assert.deepEqual(spec(), {
      metadata: {
        annotations: {
          'autoscaling.knative.dev/min-scale': '1',
          'autoscaling.knative.dev/max-scale': '3',
          'ebb.dev/scale-to-zero-after': '10s',
          'a/b': 'c',
        },
      },
      spec: {
        containers: [
          {
            image: 'reg.example/app@sha256:1',
            env: [
              { name: 'A', value: '1' },
              { name: 'B', value: 'x=y' },
            ],
            ports: [{ containerPort: 3000, name: 'h2c' }],
            resources: { limits: { cpu: '500m', memory: '64Mi' } },
            command: ['node'],
            args: ['-e', '1'],
          },
        ],
        containerConcurrency: 5,
      },
    });
  });

  it('keeps what was not mentioned: variables, traffic, sidecars; drops a revision name given by hand', async () => {
    api.objects.set(path, {
      metadata: { name: 'app', namespace: 'default', generation: 1, resourceVersion: '7' },
      spec: {
        template: {
          metadata: { name: 'app-first', annotations: { keep: 'me' } },
          spec: {
            containers: [
              { image: 'side' },
              { image: 'old', ports: [{ containerPort: 1 }], env: [{ name: 'A' }, { name: 'B' }] },
            ],
            timeoutSeconds: 9,
          },
        },
        traffic: [{ revisionName: 'app-first', percent: 100 }],
      },
    } as Service);
    const ran = await deploy('--image', 'new@sha256:1', '--name', 'app', '--env', 'B-', '--env', 'C=3');
    assert.equal(ran.code, 0, ran.err);
    assert.deepEqual(spec(), {
      metadata: { annotations: { keep: 'me' } },
      spec: {
        containers: [
          { image: 'side' },
          { image: 'new@sha256:1', ports: [{ containerPort: 1 }], env: [{ name: 'A' }, { name: 'C', value: '3' }] },
        ],
        timeoutSeconds: 9,
      },
    });
    assert.match(ran.err, /pinned to named revisions/);
  });

  it('writes again when someone else came first', async () => {
    api.objects.set(path, {
      metadata: { name: 'app', namespace: 'default', generation: 1, resourceVersion: '1' },
    } as Service);
    let conflicts = 0;
    api.on(`PATCH ${path}`, (request, response) => {
      request.resume();
      if (conflicts++ > 0)
        return response.writeHead(200).end('{"metadata":{"name":"app","generation":1}}') && undefined;
      response.writeHead(409).end('{"kind":"Status","reason":"Conflict","message":"modified"}');
    });
    const ran = await deploy('--image', 'x@sha256:1', '--name', 'app', '--no-wait');
    assert.equal(ran.code, 0, ran.err);
    assert.equal(conflicts, 2);
  });

  it('says why a service does not get ready, with its last lines, and exits 5', async () => {
    api.on(`GET /apis/ebb.dev/v1alpha1/namespaces/default/services/bad/log`, (_, response) => {
      response.end('{"text":"cannot find module"}\n');
    });
    api.settle = (p) =>
      api.change(p, (service) => {
        service.status = {
          observedGeneration: 1,
          conditions: [{ type: 'Ready', status: 'False', reason: 'RevisionFailed', message: 'it exits' }],
        };
      });
    const ran = await deploy('--image', 'x@sha256:1', '--name', 'bad');
    assert.equal(ran.code, 5);
    assert.match(ran.err, /last lines of bad:\n {2}cannot find module/);
    assert.match(ran.err, /ebb: bad is not ready: RevisionFailed: it exits/);
  });

  it('goes on waiting over an old generation and a cut watch', async () => {
    api.settle = (p) => {
      api.change(p, (s) => {
        s.status = {
          observedGeneration: 0,
          conditions: [{ type: 'Ready', status: 'False', message: 'of the last one' }],
        };
      });
      setTimeout(() => {
        api.cutWatches();
        api.change(p, makeReady);
      }, 100);
    };
    const ran = await deploy('--image', 'x@sha256:1', '--name', 'app');
    assert.equal(ran.code, 0, ran.err);
  });

  it('ends with 5 when it is not ready in time, and with 130 and a word on Ctrl-C', async () => {
    api.settle = () => undefined;
    const late = await deploy('--image', 'x@sha256:1', '--name', 'app', '--timeout', '100ms');
    assert.equal(late.code, 5);
    assert.match(late.err, /not ready after 0.1 s/);
    const stop = new AbortController();
    api.settle = () => setTimeout(() => stop.abort(), 100);
    const args = ['deploy', '--image', 'y@sha256:1', '--name', 'app'];
    const ran = await runCli(args, { dataDir: api.dataDir, signal: stop.signal });
    assert.equal(ran.code, 130);
    assert.match(ran.err, /the rollout of app goes on/);
  });

  it("tells the builder's reason", async () => {
    api.on('POST /apis/ebb.dev/v1alpha1/namespaces/default/builds', (request, response) => {
      request.resume();
      response.end('{"type":"error","code":"NotRecognised","message":"this folder holds no app that is known"}\n');
    });
    const ran = await deploy(folder, '--name', 'app');
    assert.equal(ran.code, 1);
    assert.match(ran.err, /ebb: this folder holds no app that is known/);
  });

  it('applies a manifest of several documents, and only what changed the second time', async () => {
    api.on('GET /apis/serving.knative.dev/v1', (_, response) => {
      response.end(
        '{"resources":[{"name":"services","kind":"Service","namespaced":true},{"name":"services/status","kind":"Service"}]}',
      );
    });
    const document = (name: string, env: string) => `apiVersion: serving.knative.dev/v1
kind: Service
metadata: { name: ${name} }
spec: { template: { spec: { containers: [{ image: x }], ${env} } } }
`;
    const first = `${document('app', 'timeoutSeconds: 5')}---\n${document('other', '')}---\n`;
    const ran = await runCli(['deploy', '-f', '-'], { dataDir: api.dataDir, stdin: first });
    assert.equal(ran.code, 0, ran.err);
    assert.equal(api.objects.size, 2);
    const again = await runCli(['deploy', '-f', '-'], { dataDir: api.dataDir, stdin: first });
    assert.match(again.err, /service\.serving\.knative\.dev\/app unchanged/);
    await runCli(['deploy', '-f', '-'], { dataDir: api.dataDir, stdin: document('app', '') });
    assert.equal(spec().spec!.timeoutSeconds, undefined);
  });

  const wrong: [string, string[], string, RegExp, number][] = [
    ['a manifest that is not YAML', ['-f', '-'], 'a: [', /standard input:1:5/, 2],
    ['a manifest without a kind', ['-f', '-'], 'apiVersion: v1\nmetadata: {name: x}', /kind is missing/, 2],
    ['an empty manifest', ['-f', '-'], '', /holds no object/, 2],
    ['a manifest that is not there', ['-f', '/no/such'], '', /no file \/no\/such/, 3],
    ['a kind that is not known', ['-f', '-'], 'apiVersion: v9\nkind: X\nmetadata: {name: x}', /no X in v9/, 1],
    ['folder and image', ['.', '--image', 'x'], '', /not both/, 2],
    ['a folder that is not there', ['/no/such'], '', /there is no folder/, 3],
    ['a port out of range', ['--port', '70000'], '', /from 1 to 65535/, 2],
    ['memory without sense', ['--memory', 'much'], '', /256Mi/, 2],
    ['a variable without a value', ['--env', 'A'], '', /KEY=VALUE/, 2],
    ['an unknown option', ['--imge', 'x'], '', /unknown option '--imge'[\s\S]*--image/, 2],
    ['a name that is none', ['--image', 'x', '--name', 'A_b'], '', /"a-b" would do/, 2],
    ['an archive that is not there', ['--image', 'oci-archive:/no/such.tar'], '', /no file \/no\/such\.tar/, 3],
  ];
  for (const [what, args, stdin, message, code] of wrong) {
    it(`refuses ${what}`, async () => {
      const ran = await runCli(['deploy', ...args], { dataDir: api.dataDir, stdin });
      assert.match(ran.err, message);
      assert.equal(ran.code, code);
      assert.equal(ran.out, '');
    });
  }
});

async function namesIn(request: IncomingMessage): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of request.pipe(extract())) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}
