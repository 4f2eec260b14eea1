import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Service } from '../src/resources/index.ts';
import { ok, run, startKubectlApi, type KubectlApi } from './support/kubectl.ts';

const noKubectl = (await run('kubectl', ['version', '--client'])).code !== 0 && 'kubectl is not installed';

const service = (image: string, extra = '') => `
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
${extra}
spec:
  template:
    spec:
      containers: [{ image: ${image} }]
`;
const configMap = (data: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c }\ndata: ${data}\n`;

describe('kubectl apply --server-side', { skip: noKubectl }, () => {
  let t: KubectlApi;
  before(async () => void (t = await startKubectlApi()));
  after(() => t[Symbol.asyncDispose]());
  const as = (manager: string, text: string, ...more: string[]) =>
    t.apply(text, '--server-side', `--field-manager=${manager}`, ...more);
  const key = { group: 'serving.knative.dev', kind: 'Service', namespace: 'default', name: 'hello' };

  it('makes, keeps and changes a service, with its defaults', async () => {
    assert.match(await ok(as('flux', service('localhost/hello:1'))), /hello serverside-applied/);
    const { metadata } = (await t.store.get<Service>(key))!; // it was just made
    await ok(as('flux', service('localhost/hello:1')));
    assert.equal((await t.store.get(key))?.metadata.resourceVersion, metadata.resourceVersion);
    await ok(as('flux', service('localhost/hello:2')));
    const { spec, metadata: after } = (await t.store.get<Service>(key))!;
    assert.equal(spec.template.spec.containers[0]?.name, 'user-container');
    assert.equal(after.generation, 2);
    const dry = await ok(as('flux', service('localhost/hello:3'), '--dry-run=server', '-o', 'yaml'));
    assert.match(dry, /hello:3/);
    assert.equal((await t.store.get(key))?.metadata.generation, 2);
    assert.match(await ok(t.kubectl('get', 'ksvc', 'hello', '-o', 'yaml', '--show-managed-fields')), /manager: flux/);
  });

  it('says who else set a field, and takes it when forced', async () => {
    const other = await as('argo', service('localhost/hello:9', '  labels: { from: argo }'));
    assert.equal(other.code, 1);
    assert.match(
      other.stderr,
      /conflict with "flux" using serving\.knative\.dev\/v1: \.spec\.template\.spec\.containers/,
    );
    await ok(as('argo', service('localhost/hello:9', '  labels: { from: argo }'), '--force-conflicts'));
    assert.match((await as('flux', service('localhost/hello:2'))).stderr, /conflict with "argo"/);
    const patch = '{"metadata":{"labels":{"from":"me"}}}';
    await ok(t.kubectl('patch', 'ksvc', 'hello', '--type=merge', '-p', patch));
    const label = await as('argo', service('localhost/hello:9', '  labels: { from: argo }'));
    assert.match(
      label.stderr,
      /conflict with "kubectl-patch" using serving\.knative\.dev\/v1: \.metadata\.labels\.from/,
    );
    assert.match((await as('flux', service('localhost/hello:2').replace('image', 'imag'))).stderr, /unknown field/);
    assert.match((await as('flux', service('""'))).stderr, /image/);
  });

  it('takes away what is no longer applied, and leaves what others apply', async () => {
    await ok(as('one', configMap('{ a: "1", b: "1" }')));
    await ok(as('two', configMap('{ b: "1", c: "1" }')));
    await ok(as('one', configMap('{ a: "2" }')));
    assert.equal(await ok(t.kubectl('get', 'cm', 'c', '-o', 'jsonpath={.data}')), '{"a":"2","b":"1","c":"1"}');
    await ok(as('two', configMap('{}')));
    assert.equal(await ok(t.kubectl('get', 'cm', 'c', '-o', 'jsonpath={.data}')), '{"a":"2"}');
  });

  it('goes on from kubectl apply, and back', async () => {
    const text = (value: string) => configMap(`{ x: "${value}" }`).replace('name: c', 'name: moved');
    await ok(t.apply(text('1')));
    await ok(t.apply(text('2'), '--server-side'));
    assert.match((await as('flux', text('3'))).stderr, /conflict with "kubectl"/);
    await ok(t.apply(text('3')));
    assert.equal(await ok(t.kubectl('get', 'cm', 'moved', '-o', 'jsonpath={.data}')), '{"x":"3"}');
    assert.match((await t.apply(text('3'), '-n', 'nowhere', '--server-side')).stderr, /namespaces "nowhere" not found/);
  });

  it('patches core kinds strategically', async () => {
    const account =
      'apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: a }\nimagePullSecrets: [{ name: p }, { name: q }]\n';
    await ok(t.apply(account));
    await ok(t.kubectl('patch', 'sa', 'a', '-p', '{"imagePullSecrets":[{"name":"z"}]}'));
    const names = ['get', 'sa', 'a', '-o', 'jsonpath={.imagePullSecrets[*].name}'];
    assert.deepEqual((await ok(t.kubectl(...names))).split(' ').sort(), ['p', 'q', 'z']);
    await ok(t.apply(account.replace('{ name: p }, ', '')));
    assert.deepEqual((await ok(t.kubectl(...names))).split(' ').sort(), ['q', 'z']);
  });
});
