import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import type { ApiServer, PodView } from '../src/apiserver/server.ts';
import { systemClock } from '../src/platform/clock.ts';
import { silentLogger } from '../src/platform/logger.ts';
import type { KubeObject, Service } from '../src/resources/index.ts';
import { createEventRecorder } from '../src/store/events.ts';
import type { ResourceStore } from '../src/store/store.ts';
import { ok, run, startKubectlApi, type KubectlApi, type Result } from './support/kubectl.ts';

const noKubectl = (await run('kubectl', ['version', '--client'])).code !== 0 && 'kubectl is not installed';

const manifest = (image = 'localhost/hello:1', extra = '') => `
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
spec:
  template:
    spec:
      containers:
        - image: ${image}
          env: [{ name: GREETING, value: hi }]
${extra}`;

const pod: KubeObject = Object.assign(
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'hello-00001-abc',
      namespace: 'default',
      uid: 'hello-00001-abc',
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'serving.knative.dev/service': 'hello' },
    },
  },
  {
    spec: { containers: [{ name: 'user-container', image: 'localhost/hello:1' }] },
    status: {
      phase: 'Running',
      containerStatuses: [{ name: 'user-container', ready: true, restartCount: 0, state: { running: {} } }],
    },
  },
);

describe('kubectl against the API server', { skip: noKubectl }, () => {
  let dir: string;
  let store: ResourceStore;
  let api: ApiServer;
  const serviceKey = { group: 'serving.knative.dev', kind: 'Service', namespace: 'default', name: 'hello' };
  const podListeners = new Set<() => void>();
  let pods: KubeObject[] = [pod];
  const view: PodView = {
    list: async () => structuredClone(pods),
    get: async (_namespace, name) => pods.find((p) => p.metadata.name === name),
    async *logs(_namespace, _name, { tailLines = 3, follow }, signal) {
      yield* ['one\n', 'two\n', 'three\n'].slice(-tailLines);
      if (follow && !signal.aborted) await new Promise((r) => signal.addEventListener('abort', r));
    },
    onChange(listener) {
      podListeners.add(listener);
      return { [Symbol.dispose]: () => void podListeners.delete(listener) };
    },
  };

  let client: KubectlApi;
  const kubectl = (...args: string[]) => client.kubectl(...args);
  const flags = () => client.flags;
  const apply = (text: string, ...args: string[]) => client.apply(text, ...args);

  before(async () => {
    client = await startKubectlApi(view);
    ({ dir, store, api } = client);
  });

  after(() => client[Symbol.asyncDispose]());

  it('discovers and explains', async () => {
    const resources = await ok(kubectl('api-resources', '--no-headers'));
    assert.match(resources, /^services +kservice,ksvc +serving\.knative\.dev\/v1 +true +Service$/m);
    assert.match(resources, /^pods +po +v1 +true +Pod$/m);
    assert.match(await ok(kubectl('version')), /Server Version: v1\.32/);
    const explained = await ok(kubectl('explain', 'ksvc.spec.template.spec.containers.readinessProbe.httpGet'));
    assert.match(explained, /httpGet <Object>|FIELD: httpGet/);
    assert.match(await ok(kubectl('explain', 'ksvc.spec', '--recursive')), /containerConcurrency\s+<integer>/);
    assert.match(await ok(kubectl('get', '--raw', '/readyz')), /ok/);
  });

  it('applies, twice, with defaults', async () => {
    assert.match(await ok(apply(manifest())), /hello created/);
    // kubectl merges lists of other kinds than Kubernetes' own as a whole: it patches the defaults away, and they come back.
    assert.match(await ok(apply(manifest())), /hello (configured|unchanged)/);
    const service = await store.get<Service>(serviceKey);
    const container = service?.spec.template.spec.containers[0];
    assert.equal(container?.name, 'user-container');
    assert.equal(service?.metadata.generation, 1);
    assert.equal(service?.metadata.annotations?.['serving.knative.dev/creator'], 'kubernetes-admin');
    assert.match(await ok(apply(manifest('localhost/hello:2'))), /hello configured/);
    assert.equal((await store.get(serviceKey))?.metadata.generation, 2);
    assert.match(await ok(apply(manifest('localhost/hello:3'), '--dry-run=server')), /server dry run/);
    assert.equal((await store.get(serviceKey))?.metadata.generation, 2);
    assert.match((await apply(manifest('localhost/hello:9', ''), '--dry-run=server', '-o', 'yaml')).stdout, /hello:9/);
  });

  it('names unknown and wrong fields with their path', async () => {
    const misspelled = await apply(manifest().replace('env:', 'enviroment:'));
    assert.equal(misspelled.code, 1);
    assert.match(misspelled.stderr, /unknown field "spec\.template\.spec\.containers\[0\]\.enviroment"/);
    const warned = await apply(manifest('localhost/hello:2').replace('env:', 'enviroment:'), '--validate=warn');
    assert.match(warned.stderr, /Warning: unknown field "spec\.template\.spec\.containers\[0\]\.enviroment"/);
    const wrong = await apply(manifest('localhost/hello:2', '      containerConcurrency: -1\n'));
    assert.match(wrong.stderr, /expected 0 <= -1 <= 1000: spec\.template\.spec\.containerConcurrency/);
    const none = await apply(manifest().replace(/image: \S+/, 'command: [x]'));
    assert.match(none.stderr, /missing field\(s\): spec\.template\.spec\.containers\[0\]\.image/);
    const refused = await apply(manifest('localhost/hello:2', '      hostNetwork: true\n'));
    assert.match(refused.stderr, /must not set the field\(s\): spec\.template\.spec\.hostNetwork/);
  });

  it('gets tables, wide, by label and by name; describes with events', async () => {
    await ok(kubectl('label', 'ksvc', 'hello', 'tier=web'));
    await ok(kubectl('annotate', 'ksvc', 'hello', 'note=x'));
    assert.match(await ok(kubectl('get', 'ksvc')), /^NAME +URL +LATESTCREATED +LATESTREADY +READY +REASON\nhello/);
    assert.match(await ok(kubectl('get', 'ksvc', '-l', 'tier in (web,api)', '--no-headers')), /^hello/);
    assert.equal(await ok(kubectl('get', 'ksvc', '-l', 'tier!=web', '--no-headers')), '');
    assert.match(await ok(kubectl('get', 'ksvc', '--field-selector', 'metadata.name=hello', '-o', 'name')), /hello/);
    assert.match(await ok(kubectl('get', 'all', '-A')), /service\.serving\.knative\.dev\/hello/);
    const service = await store.get(serviceKey);
    await using recorder = createEventRecorder({ store, clock: systemClock, logger: silentLogger, component: 'test' });
    const { apiVersion, kind, metadata } = service!;
    recorder.record({
      object: { apiVersion, kind, namespace: 'default', name: metadata.name, uid: metadata.uid ?? '' },
      type: 'Normal',
      reason: 'Created',
      message: 'made a thing',
    });
    await recorder[Symbol.asyncDispose]();
    assert.match(await ok(kubectl('describe', 'ksvc', 'hello')), /Normal +Created +\S+ +test +made a thing/);
    assert.match(await ok(kubectl('get', 'events')), /Created +service\/hello +made a thing/);
  });

  it('waits for a condition', async () => {
    const waiting = kubectl('wait', '--for=condition=Ready', 'ksvc/hello', '--timeout=20s');
    const service = await store.get<Service>(serviceKey);
    await store.updateStatus<Service>({
      ...service!,
      status: { url: 'http://hello.default.localhost', conditions: [{ type: 'Ready', status: 'True' }] },
    });
    assert.match(await ok(waiting), /condition met/);
    assert.match(await ok(kubectl('get', 'ksvc', 'hello', '--no-headers')), /http:\/\/hello\.default\.localhost +True/);
  });

  it('edits, patches and replaces; a stale write is a conflict', async () => {
    await ok(apply(manifest()));
    const editor = join(dir, 'editor.sh');
    await writeFile(editor, '#!/bin/sh\nsed -i \'s/value: hi/value: edited/\' "$1"\n', { mode: 0o755 });
    const edited = new Promise<Result>((resolve) => {
      execFile(
        'kubectl',
        [...flags(), 'edit', 'ksvc', 'hello'],
        { env: { ...process.env, EDITOR: editor } },
        (e, stdout, stderr) => resolve({ code: e ? 1 : 0, stdout, stderr }),
      );
    });
    assert.match(await ok(edited), /hello edited/);
    const path = '/spec/template/spec/containers/0/env/0/value';
    const patch = JSON.stringify([{ op: 'replace', path, value: 'patched' }]);
    assert.match(await ok(kubectl('patch', 'ksvc', 'hello', '--type=json', '-p', patch)), /patched/);
    const stale = await ok(kubectl('get', 'ksvc', 'hello', '-o', 'yaml'));
    await ok(kubectl('patch', 'ksvc', 'hello', '--type=merge', '-p', '{"metadata":{"labels":{"a":"b"}}}'));
    const replaced = await run('kubectl', [...flags(), 'replace', '-f', '-'], stale);
    assert.match(replaced.stderr, /\(Conflict\).*the object has been modified/);
    const status = '{"status":{"url":"http://x"}}';
    await ok(kubectl('patch', 'ksvc', 'hello', '--subresource=status', '--type=merge', '-p', status));
    assert.equal((await store.get<Service>(serviceKey))?.status?.url, 'http://x');
  });

  it('watches, as a table and by selector', async () => {
    const child = spawn('kubectl', [...flags(), 'get', 'cm', '-w', '--no-headers', '-l', 'watch=me']);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const config = (labels: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: seen, labels: { ${labels} } }\ndata: { a: b }\n`;
    try {
      // kubectl lists before it watches: whichever it is in, it sees the object once.
      await ok(apply(config('watch: me')));
      assert.match(String((await lines.next()).value), /^seen +1 /);
      await ok(kubectl('patch', 'cm', 'seen', '-p', '{"data":{"c":"d"}}'));
      assert.match(String((await lines.next()).value), /^seen +2 /);
    } finally {
      child.kill();
    }
    await ok(kubectl('delete', 'cm', 'seen'));
  });

  it('shows pods and their logs', async () => {
    assert.match(
      await ok(kubectl('get', 'pods')),
      /NAME +READY +STATUS +RESTARTS +AGE\nhello-00001-abc +1\/1 +Running +0/,
    );
    assert.equal(await ok(kubectl('get', 'pods', '-l', 'serving.knative.dev/service=other', '--no-headers')), '');
    assert.equal(await ok(kubectl('logs', 'hello-00001-abc')), 'one\ntwo\nthree\n');
    assert.equal(await ok(kubectl('logs', '-l', 'serving.knative.dev/service=hello', '--tail=1')), 'three\n');
    assert.match((await kubectl('delete', 'pod', 'hello-00001-abc')).stderr, /not supported|MethodNotAllowed/);
    const waiting = kubectl('wait', '--for=delete', 'pod/hello-00001-abc', '--timeout=20s');
    pods = [];
    for (const listener of podListeners) listener();
    await ok(waiting);
  });

  it('keeps namespaces apart and deletes them with their content', async () => {
    await ok(apply('apiVersion: v1\nkind: Namespace\nmetadata: { name: other }\n'));
    assert.match(await ok(kubectl('get', 'ns')), /other +Active/);
    await ok(apply(manifest(), '-n', 'other'));
    assert.match((await apply(manifest(), '-n', 'nowhere')).stderr, /namespaces "nowhere" not found/);
    await ok(kubectl('delete', 'ns', 'other'));
    assert.equal(await store.get({ ...serviceKey, namespace: 'other' }), undefined);
    assert.match((await kubectl('delete', 'ns', 'default')).stderr, /forbidden/i);
  });

  it('deletes, and says so when there is nothing', async () => {
    assert.match(await ok(kubectl('delete', 'ksvc', 'hello')), /"hello" deleted/);
    const gone = await kubectl('get', 'ksvc', 'hello');
    assert.match(gone.stderr, /\(NotFound\): services\.serving\.knative\.dev "hello" not found/);
    assert.equal((await kubectl('delete', 'ksvc', 'hello')).code, 1);
    await ok(apply(manifest()));
    await ok(kubectl('delete', 'ksvc', '--all', '--cascade=foreground'));
    assert.equal((await store.list(serviceKey)).items.length, 0);
  });

  it('lets nobody in without the token or the right authority', async () => {
    const unauthorised = await run('kubectl', [
      ...[`--server=${api.url}`, '--insecure-skip-tls-verify', '--token=wrong', '--kubeconfig=/dev/null'],
      ...[`--cache-dir=${dir}/cache2`, 'get', 'ksvc'],
    ]);
    assert.match(unauthorised.stderr, /Unauthorized|must be logged in|credentials/);
    const untrusted = await run('kubectl', [
      ...[`--server=${api.url}`, '--token=wrong', '--kubeconfig=/dev/null', `--cache-dir=${dir}/cache3`, 'get', 'ksvc'],
    ]);
    assert.match(untrusted.stderr, /certificate/);
  });
});
