import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { root, run, startEbb, type TestEbb } from './support/ebb.ts';
import { findKn } from './support/kn.ts';

const kn = await findKn();

describe('kn, unmodified', { skip: kn === undefined && 'kn is not compiled here: npm run test:kn does' }, () => {
  let ebb: TestEbb;
  let image: string;
  const call = (...args: string[]) =>
    run(kn ?? '', args, { KUBECONFIG: join(ebb.dataDir, 'kubeconfig'), HOME: ebb.runDir });
  const ok = async (...args: string[]) => {
    const { code, stdout, stderr } = await call(...args);
    assert.equal(code, 0, `kn ${args.join(' ')}\n${stdout}${stderr}`);
    return stdout;
  };
  const get = async (kind: string, name: string, path: string) => {
    const { stdout } = await run('kubectl', [
      ...['--kubeconfig', join(ebb.dataDir, 'kubeconfig'), '--cache-dir', join(ebb.runDir, 'cache')],
      ...['get', kind, name, '-o', `jsonpath={${path}}`],
    ]);
    return stdout;
  };

  before(async () => {
    ebb = await startEbb();
    await ebb.ok('deploy', join(root, 'examples/hello'), '--name', 'source');
    image = await get('ksvc', 'source', '.spec.template.spec.containers[0].image');
  });
  after(() => ebb[Symbol.asyncDispose]());

  it('creates, describes, updates, splits, lists', async () => {
    const created = await ok('service', 'create', 'a', '--image', image, '--env', 'TARGET=one', '--label', 'l=1');
    assert.match(created, /Service 'a' created to latest revision 'a-00001' is available at URL:\nhttp:\/\/a\.default/);
    assert.match(await ok('service', 'describe', 'a'), /100% +@latest \(a-00001\)[^]*\+\+ Ready/);
    const updated = await ok('service', 'update', 'a', '--env', 'TARGET=two', '--tag', 'a-00001=old');
    assert.match(updated, /updated to latest revision 'a-00002'/);
    await ok('service', 'update', 'a', '--traffic', 'a-00001=50,@latest=50');
    assert.match(await ok('service', 'list'), /^a +http:\/\/a\.default\S+ +a-00002 +\S+ +3 OK \/ 3 +True/m);
    const revisions = await ok('revision', 'list', '-s', 'a');
    assert.match(revisions, /^a-00002 +a +50% +2 [^]*^a-00001 +a +50% +old +1 /m);
    assert.match(await ok('route', 'list'), /^a +http:\S+ +True/m);
    assert.match(await ok('revision', 'describe', 'a-00001'), /Env: +TARGET=one/);
    const answer = await ebb.request(`old-a.default.localhost:${ebb.gatewayPort}`);
    assert.deepEqual([answer.status, /one/i.test(answer.body)], [200, true]);
  });

  it('applies, twice and changed, and takes a name for a revision', async () => {
    assert.match(await ok('service', 'apply', 'b', '--image', image), /Service 'b' created/);
    await ok('service', 'apply', 'b', '--image', image);
    assert.equal(await get('ksvc', 'b', '.metadata.generation'), '1');
    assert.match(await ok('service', 'apply', 'b', '--image', image, '--scale-max', '2'), /applied to latest revision/);
    assert.match(await ok('service', 'update', 'b', '--revision-name', 'b-mine'), /latest revision 'b-mine'/);
    const taken = await call('service', 'update', 'b', '--revision-name', 'b-mine', '--env', 'A=b');
    assert.match(taken.stderr, /Saw changes of the template without a name change/);
    assert.match(await ok('service', 'export', 'b', '-o', 'yaml'), /^ +kind: Service$/m);
  });

  it('names its routes and tags by core Services', async () => {
    assert.equal(await get('svc', 'a', '.spec.externalName'), 'a.default.localhost');
    assert.equal(await get('svc', 'old-a', '.metadata.labels.serving\\.knative\\.dev/route'), 'a');
    await ok('service', 'update', 'a', '--untag', 'old', '--traffic', '@latest=100');
    assert.equal(await get('svc', 'old-a', '.metadata.name'), '');
  });

  it('maps a domain, to whoever came first', async () => {
    await ok('domain', 'create', 'shop.example.com', '--ref', 'ksvc:a');
    await ebb.until('the domain is ready', async () =>
      /^shop\.example\.com +http:\S+ +True +a$/m.test(await ok('domain', 'list')),
    );
    assert.equal((await ebb.request('shop.example.com')).status, 200);
    await ok('domain', 'update', 'shop.example.com', '--ref', 'ksvc:b');
    const served = async () => /b-mine/.test((await ebb.request('shop.example.com')).body);
    await ebb.until('the domain leads to b', served);
    await ok('domain', 'delete', 'shop.example.com');
    await ebb.until('the domain is free', async () => (await ebb.request('shop.example.com')).status === 404);
  });

  it('makes secrets, deletes, and says what is not there', async () => {
    assert.match(await ok('secret', 'create', 's', '--from-literal', 'k=v'), /Secret 's' created/);
    await ok('revision', 'delete', 'b-00001');
    assert.match(await ok('service', 'delete', 'a', 'b'), /'a' successfully deleted[^]*'b' successfully deleted/);
    const gone = await call('service', 'describe', 'a');
    assert.match(gone.stderr, /services\.serving\.knative\.dev "a" not found/);
    assert.match((await call('source', 'list')).stderr, /no sources found on the backend/);
    assert.match((await call('service', 'create', 'c', '--image', image, '--annotation', 'a b=c')).stderr, /a b/);
  });
});
