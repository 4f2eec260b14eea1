import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ok, run, startKubectlApi, type KubectlApi } from './support/kubectl.ts';

const noKubectl = (await run('kubectl', ['version', '--client'])).code !== 0 && 'kubectl is not installed';

describe('kubectl and the core kinds', { skip: noKubectl }, () => {
  let t: KubectlApi;
  before(async () => void (t = await startKubectlApi()));
  after(() => t[Symbol.asyncDispose]());

  it('creates what it sends as protobuf', async () => {
    assert.match(await ok(t.kubectl('create', 'namespace', 'room')), /namespace\/room created/);
    await ok(t.kubectl('create', 'configmap', 'c', '--from-literal=a=b', '--from-literal=empty='));
    await ok(t.kubectl('create', 'secret', 'generic', 's', '--from-literal=k=\u00fc'));
    const registry = ['--docker-server=example.com', '--docker-username=u', '--docker-password=p'];
    await ok(t.kubectl('create', 'secret', 'docker-registry', 'r', ...registry));
    await ok(t.kubectl('create', 'serviceaccount', 'robot', '-n', 'room'));
    assert.equal(await ok(t.kubectl('get', 'cm', 'c', '-o', 'jsonpath={.data}')), '{"a":"b","empty":""}');
    assert.equal(await ok(t.kubectl('get', 'secret', 's', '-o', 'jsonpath={.data.k}')), 'w7w=');
    assert.match(await ok(t.kubectl('get', 'secret', 'r')), /kubernetes\.io\/dockerconfigjson +1/);
    assert.match(await ok(t.kubectl('get', 'sa', '-n', 'room', '--no-headers')), /^default +0 .*\nrobot +0 /);
    const dry = await ok(t.kubectl('create', 'ns', 'never', '--dry-run=server', '-o', 'name'));
    assert.match(dry, /namespace\/never/);
    assert.match((await t.kubectl('get', 'ns', 'never')).stderr, /NotFound/);
    assert.match((await t.kubectl('create', 'quota', 'q')).stderr, /not find|not accepted/);
  });

  it('has a default service account in every namespace, which comes back', async () => {
    assert.match(await ok(t.kubectl('get', 'sa', '-A', '--no-headers')), /^default +default .*\nroom +default /);
    await ok(t.kubectl('delete', 'sa', 'default', '-n', 'room'));
    await ok(t.kubectl('get', 'sa', 'default', '-n', 'room'));
    await ok(t.kubectl('delete', 'ns', 'room'));
    assert.equal(await ok(t.kubectl('get', 'sa', '-n', 'room', '--no-headers')), '');
  });

  it('tells who may do what', async () => {
    assert.equal(await ok(t.kubectl('auth', 'can-i', 'create', 'ksvc')), 'yes\n');
    assert.equal(await ok(t.kubectl('auth', 'can-i', '*', '*', '-A')), 'yes\n');
    assert.equal(await ok(t.kubectl('auth', 'can-i', 'get', '/healthz')), 'yes\n');
    assert.match(await ok(t.kubectl('auth', 'can-i', '--list')), /\*\.\* +\[\] +\[\] +\[\*\]/);
    assert.match(await ok(t.kubectl('auth', 'whoami')), /Username +kubernetes-admin\nGroups +\[system:masters/);
  });

  it('gives out tokens, which let in and no further', async () => {
    const token = (await ok(t.kubectl('create', 'token', 'default', '--duration=20m'))).trim();
    assert.equal(token.split('.').length, 3);
    const server = ['--server', t.api.url, '--insecure-skip-tls-verify', '--kubeconfig=/dev/null', '--token', token];
    const as = (...args: string[]) => run('kubectl', [...server, `--cache-dir=${t.dir}/robot`, ...args]);
    assert.match(await ok(as('auth', 'whoami')), /Username +system:serviceaccount:default:default\n/);
    assert.equal(
      (await as('auth', 'can-i', 'get', 'secrets')).stdout.split('\n')[0],
      'no - user "system:serviceaccount:default:default" is not the administrator',
    );
    assert.match((await as('get', 'secrets')).stderr, /\(Forbidden\).*cannot get path/);
    assert.match((await t.kubectl('create', 'token', 'default', '--duration=1m')).stderr, /less than 10 minutes/);
  });

  it('shows what would change, and applies folders', async () => {
    const service = (image: string) =>
      `apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: { name: d }\nspec: { template: { spec: { containers: [{ image: "${image}" }] } } }\n`;
    await ok(t.apply(service('localhost/d:1')));
    for (const how of ['--server-side=false', '--server-side=true']) {
      const diff = await run('kubectl', [...t.flags, 'diff', how, '-f', '-'], service('localhost/d:2'));
      assert.equal(diff.code, 1, diff.stderr);
      assert.match(diff.stdout, /^-.*image: localhost\/d:1\n\+.*image: localhost\/d:2$/m);
    }
    const folder = join(t.dir, 'folder');
    await mkdir(folder);
    await writeFile(join(folder, 'service.yaml'), service('localhost/d:1'));
    const kustomization =
      'resources: [service.yaml]\nnamePrefix: k-\nconfigMapGenerator: [{ name: c, literals: [a=b] }]\n';
    await writeFile(join(folder, 'kustomization.yaml'), kustomization);
    assert.match(await ok(t.kubectl('apply', '-k', folder)), /configmap\/k-c-\S+ created\nservice\S+\/k-d created/);
    assert.match(await ok(t.kubectl('delete', '-k', folder)), /"k-d" deleted/);
    await ok(t.kubectl('delete', 'ksvc', 'd'));
  });

  it('defines the kinds of named groups, for tools that look for definitions', async () => {
    const names = await ok(t.kubectl('get', 'crd', '-o', 'name'));
    assert.match(names, /customresourcedefinition\.apiextensions\.k8s\.io\/domainmappings\.serving\.knative\.dev\n/);
    await ok(t.kubectl('wait', '--for=condition=Established', 'crd/services.serving.knative.dev', '--timeout=10s'));
    assert.match((await t.kubectl('delete', 'crd', '--all')).stderr, /not supported|MethodNotAllowed/);
    assert.match(await ok(t.kubectl('explain', 'dm.spec.ref.name')), /FIELD: name <string>/);
  });

  it('finds every kind by one request for each endpoint', async () => {
    const log = (await t.kubectl('api-resources', '-v=6', '--cache-dir', `${t.dir}/fresh`)).stderr;
    const paths = [...log.matchAll(/GET https:\/\/[^/]+(\/\S*) 200/g)].map((m) => m[1]);
    assert.deepEqual([...new Set(paths)].map((p) => p?.split('?')[0]).sort(), ['/api', '/apis']);
    const resources = await ok(t.kubectl('api-resources', '--no-headers', '-o', 'wide'));
    assert.match(resources, /^services +ksvc,kservice|^services +kservice,ksvc +serving\.knative\.dev\/v1 +true/m);
    assert.match(resources, /^services +svc +v1 +true +Service +get,list,watch +all$/m);
    assert.match(await ok(t.kubectl('get', 'svc', '-A')), /^$/);
  });
});
