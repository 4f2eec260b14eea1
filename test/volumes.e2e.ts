import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import { root, run, startEbb, type CliResult, type TestEbb } from './support/ebb.ts';

type Json = Record<string, unknown>;

const password = 'hunter2-nobody-else-may-see-this';

const noKubectl = (await run('kubectl', ['version', '--client'])).code !== 0 && 'kubectl is not installed';

describe('variables and volumes from Secrets and ConfigMaps', { skip: noKubectl }, () => {
  let ebb: TestEbb;
  let image: string;
  const dir = mkdtempSync(join(tmpdir(), 'ebb-volumes-'));

  before(async () => {
    ebb = await startEbb();
    await ebb.ok('deploy', join(root, 'test/apps/mirror'), '--name', 'plain');
    const plain = await ebb.json<{ spec: { template: { spec: { containers: { image: string }[] } } } }>(
      'describe',
      'plain',
    );
    image = plain.spec.template.spec.containers[0]?.image ?? '';
    await apply(
      secret('account', { user: 'ada', password }),
      configMap('settings', { LEVEL: 'debug', GREETING: 'hello $(user)', 'app.conf': 'a = 1\n' }),
    );
  });
  after(async () => {
    rmSync(dir, { recursive: true, force: true });
    await ebb[Symbol.asyncDispose]();
  });

  it('gives variables one by one and by the whole object', async () => {
    await deploy('env', {
      env: [
        { name: 'LEVEL', value: 'overridden' },
        { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'account', key: 'password' } } },
        { name: 'URL', value: 'db://$(DB_user):$(PASSWORD)@host' },
        { name: 'RAW', valueFrom: { configMapKeyRef: { name: 'settings', key: 'GREETING' } } },
        { name: 'ABSENT', valueFrom: { secretKeyRef: { name: 'nobody', key: 'x', optional: true } } },
      ],
      envFrom: [
        { configMapRef: { name: 'settings' } },
        { prefix: 'DB_', secretRef: { name: 'account' } },
        { configMapRef: { name: 'nothing', optional: true } },
      ],
    });
    const env = await see<Record<string, string>>('env', '/env');
    assert.equal(env['PASSWORD'], password);
    assert.equal(env['URL'], `db://ada:${password}@host`);
    assert.equal(env['LEVEL'], 'overridden');
    assert.equal(env['GREETING'], 'hello $(user)');
    assert.equal(env['RAW'], 'hello $(user)');
    assert.equal(env['DB_user'], 'ada');
    assert.ok(!('ABSENT' in env));
  });

  it('mounts secrets, configMaps and projections, read-only and with their modes', async () => {
    await deploy(
      'files',
      {
        securityContext: { runAsUser: 1234, runAsGroup: 1234 },
        volumeMounts: [
          { name: 'all', mountPath: '/etc/app' },
          { name: 'account', mountPath: '/etc/app/account' },
          { name: 'both', mountPath: '/both/' },
          { name: 'settings', mountPath: '/app.conf', subPath: 'app.conf' },
          { name: 'inner', mountPath: '/both/inner' },
        ],
      },
      [
        { name: 'all', emptyDir: {} },
        { name: 'inner', emptyDir: {} },
        { name: 'settings', configMap: { name: 'settings' } },
        {
          name: 'account',
          secret: {
            secretName: 'account',
            defaultMode: 0o400,
            items: [
              { key: 'password', path: 'deep/er/password' },
              { key: 'user', path: 'user', mode: 0o444 },
            ],
          },
        },
        {
          name: 'both',
          projected: {
            sources: [
              { secret: { name: 'account', items: [{ key: 'user', path: 'who' }] } },
              { configMap: { name: 'settings' } },
              { secret: { name: 'nobody', optional: true } },
            ],
          },
        },
      ],
    );
    const file = (path: string) => see<{ content: string; mode: string }>('files', `/file?path=${path}`);
    assert.deepEqual(await file('/etc/app/account/deep/er/password'), { content: password, mode: '400' });
    assert.deepEqual(await file('/etc/app/account/user'), { content: 'ada', mode: '444' });
    assert.deepEqual(await file('/both/who'), { content: 'ada', mode: '644' });
    assert.deepEqual(await file('/app.conf'), { content: 'a = 1\n', mode: '644' });
    assert.deepEqual(await see('files', '/list?path=/both'), ['GREETING', 'LEVEL', 'app.conf', 'inner', 'who']);
    for (const path of ['/both/new', '/both/who', '/app.conf', '/etc/app/account/user'])
      assert.equal(await fails('files', `/write?bytes=1&path=${path}`), 'EROFS', path);
    for (const path of ['/etc/app/own', '/both/inner/own'])
      assert.equal(await see('files', `/write?bytes=10&path=${path}`), 'done');
  });

  it('makes empty folders, in memory no larger than their limit', async () => {
    await deploy(
      'empty',
      {
        securityContext: { runAsUser: 1234 },
        volumeMounts: [
          { name: 'small', mountPath: '/small' },
          { name: 'cache', mountPath: '/cache', subPath: 'a/b' },
          { name: 'cache', mountPath: '/cache-all' },
          { name: 'cache', mountPath: '/cache-read', readOnly: true },
        ],
      },
      [
        { name: 'small', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
        { name: 'cache', emptyDir: {} },
      ],
    );
    assert.match(await see('empty', '/mounts'), /^ebb \/small tmpfs rw,[^ ]*size=1024k/m);
    assert.equal(await see('empty', `/write?path=/small/x&bytes=${2 ** 19}`), 'done');
    assert.equal(await fails('empty', `/write?path=/small/y&bytes=${2 ** 20}`), 'ENOSPC');
    assert.equal(await see('empty', '/write?path=/cache/x&bytes=5'), 'done');
    assert.equal((await see<{ content: string }>('empty', '/file?path=/cache-all/a/b/x')).content, 'xxxxx');
    assert.equal(await fails('empty', '/write?path=/cache-read/x&bytes=5'), 'EROFS');
  });

  it('puts empty folders on disk when the app writes there', async () => {
    await deploy(
      'disk',
      { volumeMounts: [{ name: 'cache', mountPath: '/cache' }] },
      [{ name: 'cache', emptyDir: { sizeLimit: '8Mi' } }],
      { 'ebb.dev/writable': 'disk', 'ebb.dev/writable-size': '16Mi' },
    );
    assert.match(await see('disk', '/mounts'), / \/cache ext4 rw/);
    assert.deepEqual(await see('disk', '/list?path=/cache'), []);
    assert.equal(await fails('disk', `/write?path=/cache/x&bytes=${2 ** 24}`), 'ENOSPC');
  });

  it('says which object or key is missing, and heals when it comes', async () => {
    const wait = async (name: string, message: string) =>
      ebb.until(`${name} to say that ${message}`, async () => {
        const all = (await ebb.json<{ items: { status?: { conditions?: Json[] } }[] }>('revisions', name)).items;
        const ready = all[0]?.status?.conditions?.find((c) => c['type'] === 'Ready');
        return ready?.['reason'] === 'CreateContainerConfigError' && ready['message'] === message;
      });
    const env = [{ name: 'K', valueFrom: { secretKeyRef: { name: 'late', key: 'k' } } }];
    const refused = await tryDeploy('late', { env });
    assert.notEqual(refused.code, 0);
    assert.match(refused.stdout + refused.stderr, /secret "late" not found/);
    await wait('late', 'secret "late" not found');
    await apply(secret('late', { other: 'x' }));
    await wait('late', 'key "k" not in secret "late"');
    await apply(secret('late', { k: 'here at last' }));
    await ebb.until('late to be healed', async () => (await ebb.request('late.default.localhost')).status === 200);
    assert.equal((await see<Record<string, string>>('late', '/env'))['K'], 'here at last');
  });

  it('turns requests away while what it needs is gone, and lets them in when it is back', async () => {
    await apply(secret('comes', { k: 'first' }));
    await deploy(
      'comes',
      {
        volumeMounts: [{ name: 'v', mountPath: '/v' }],
      },
      [{ name: 'v', secret: { secretName: 'comes' } }],
    );
    await kubectl('delete', 'secret', 'comes');
    // What was made while it was there goes on.
    assert.equal((await see<{ content: string }>('comes', '/file?path=/v/k')).content, 'first');
    await ebb.ok('down');
    assert.equal((await ebb.up()).code, 0);
    const refused = await ebb.until('a refusal', async () => {
      const answer = await ebb.request('comes.default.localhost');
      return answer.status === 503 && answer;
    });
    assert.match(refused.body, /secret "comes" not found/);
    await apply(secret('comes', { k: 'second' }));
    await ebb.until('it to be back', async () => (await ebb.request('comes.default.localhost')).status === 200);
    assert.equal((await see<{ content: string }>('comes', '/file?path=/v/k')).content, 'second');
  });

  it('replaces waiting standbys when what they were made of has changed', async () => {
    await apply(configMap('turn', { number: '1' }));
    await deploy('turns', { env: [{ name: 'N', valueFrom: { configMapKeyRef: { name: 'turn', key: 'number' } } }] });
    const standbys = () =>
      readdirSync(join(ebb.runDir, 'sandboxes')).flatMap((id) => {
        const facts = read(join(ebb.runDir, 'sandboxes', id, 'facts.json'));
        const { references, startedAtMs } = JSON.parse(facts || '{}') as { references?: string; startedAtMs?: number };
        const env = /"N=(.)"/.exec(read(join(ebb.runDir, 'sandboxes', id, 'config.json')))?.[1];
        return references?.startsWith('ConfigMap/turn@') && startedAtMs === undefined && env ? [env] : [];
      });
    await ebb.until('a standby', async () => standbys().join() === '1');
    await apply(configMap('turn', { number: '2' }));
    await ebb.until('the standby to be replaced', async () => standbys().join() === '2');
    // What runs goes on with what it began with.
    assert.equal((await see<Record<string, string>>('turns', '/env'))['N'], '1');
  });

  it('leaves no secret where others could read it', async () => {
    const { stdout } = await run('grep', ['-rlF', '-D', 'skip', password, join(ebb.dataDir, 'logs'), ebb.runDir]);
    const leaks = stdout.split('\n').filter((path) => path !== '');
    assert.ok(leaks.length > 0);
    // The runtime's own: the environment in a sandbox's configuration, which root alone can reach.
    for (const path of leaks) assert.match(path, /\/(sandboxes|oci)\/env-[^/]+\/config\.json$/);
    for (const folder of ['sandboxes', 'oci']) assert.equal(statSync(join(ebb.runDir, folder)).mode & 0o77, 0, folder);
  });

  /** Empty for what went away meanwhile, or cannot be read. */
  function read(path: string): string {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return '';
    }
  }

  const secret = (name: string, stringData: Json) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name },
    stringData,
  });
  const configMap = (name: string, data: Json) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data });

  async function kubectl(...args: string[]): Promise<void> {
    const kubeconfig = join(dir, 'kubeconfig');
    writeFileSync(kubeconfig, await ebb.ok('kubeconfig'));
    const { code, stderr } = await run('kubectl', ['--kubeconfig', kubeconfig, ...args], { HOME: dir });
    assert.equal(code, 0, stderr);
  }

  async function apply(...objects: Json[]): Promise<void> {
    const file = join(dir, 'objects.yaml');
    writeFileSync(file, objects.map((object) => stringify(object)).join('---\n'));
    await kubectl('apply', '-f', file);
  }

  function tryDeploy(name: string, container: Json, volumes: Json[] = [], annotations: Json = {}): Promise<CliResult> {
    const file = join(dir, `${name}.json`);
    const spec = { containers: [{ image, ...container }], volumes };
    const object = {
      apiVersion: 'serving.knative.dev/v1',
      kind: 'Service',
      metadata: { name },
      spec: { template: { metadata: { annotations }, spec } },
    };
    writeFileSync(file, JSON.stringify(object));
    return ebb.cli('deploy', '-f', file, '--timeout', '40s');
  }

  async function deploy(...args: Parameters<typeof tryDeploy>): Promise<void> {
    const { code, stdout, stderr } = await tryDeploy(...args);
    assert.equal(code, 0, stdout + stderr);
  }

  async function see<T = string>(service: string, path: string): Promise<T> {
    const { status, body } = await ebb.request(`${service}.default.localhost`, path);
    assert.equal(status, 200, `${path}: ${body}`);
    return JSON.parse(body) as T;
  }

  async function fails(service: string, path: string): Promise<string> {
    const { status, body } = await ebb.request(`${service}.default.localhost`, path);
    assert.equal(status, 500, `${path}: ${body}`);
    return JSON.parse(body) as string;
  }
});
