import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LocalImage } from '../../images/images.ts';
import type { Container } from '../../resources/index.ts';
import type { Workload } from '../engine.ts';
import { commandLine, expand, planProcess } from './process.ts';
import { settingsOf } from './settings.ts';
import { makeSpec } from './spec.ts';
import { findInLayers, readInLayers, resolveUser } from './users.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ebb-layers-'));
  await mkdir(join(dir, 'low/etc'), { recursive: true });
  await mkdir(join(dir, 'low/srv'));
  await mkdir(join(dir, 'top/etc'), { recursive: true });
  await writeFile(join(dir, 'low/etc/passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:\n');
  await writeFile(join(dir, 'low/etc/group'), 'web:x:34:\nlogs:x:50:web,root\nops:x:60:other\n');
  await writeFile(join(dir, 'top/etc/issue'), 'top');
  await symlink('/etc', join(dir, 'top/conf'));
  await symlink('../../../../../../../../etc/passwd', join(dir, 'top/escape'));
  await symlink('loop', join(dir, 'top/loop'));
});
after(() => rm(dir, { recursive: true, force: true }));

const layers = () => [join(dir, 'top'), join(dir, 'low')];

test('files are found in the layers as the container will see them', async () => {
  assert.deepEqual(await findInLayers(layers(), '/etc/issue'), { kind: 'file', path: join(dir, 'top/etc/issue') });
  assert.equal((await findInLayers(layers(), '/conf/passwd'))?.path, join(dir, 'low/etc/passwd'));
  assert.equal((await findInLayers(layers(), '/srv'))?.kind, 'directory');
  assert.equal(await findInLayers(layers(), '/nothing/here'), undefined);
  assert.equal(await findInLayers(layers(), '/etc/issue/below'), undefined);
});

test('links never lead out of the layers', async () => {
  assert.match(await readInLayers(layers(), '/escape'), /^root:x:0:0::\/root:\/bin\/sh\nweb/);
  assert.equal(await findInLayers(layers(), '/loop'), undefined);
});

test('users and groups by name and number', async () => {
  const passwd = await readInLayers(layers(), '/etc/passwd');
  const group = await readInLayers(layers(), '/etc/group');
  const resolve = (user: string) => resolveUser(user, passwd, group);
  assert.deepEqual(resolve('web'), { uid: 33, gid: 34, additionalGids: [50] });
  assert.deepEqual(resolve('web:ops'), { uid: 33, gid: 60, additionalGids: [] });
  assert.deepEqual(resolve('65532'), { uid: 65532, gid: 0, additionalGids: [] });
  assert.deepEqual(resolve('1:2'), { uid: 1, gid: 2, additionalGids: [] });
  assert.deepEqual(resolve(''), { uid: 0, gid: 0, additionalGids: [50] });
  for (const user of ['nobody', 'web:nobody', '99999999999', '-1'])
    assert.throws(() => resolve(user), { code: 'ImageUserUnknown' }, user);
});

function image(config: LocalImage['config']['config'] = {}): LocalImage {
  return {
    reference: 'registry.test/x:1',
    resolved: 'registry.test/x@sha256:0',
    manifest: { mediaType: '', digest: 'sha256:0', size: 0 },
    config: { architecture: 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } },
    layerDirs: layers().toReversed(),
  };
}

function workload(container: Partial<Container> = {}, annotations: Record<string, string> = {}): Workload {
  const containers = [{ image: 'registry.test/x:1', ...container }];
  const names = { namespace: 'default', revision: 'hi-00001', service: 'hi', configuration: 'hi', uid: 'u' };
  return { ...names, annotations, spec: { containers } };
}

test('command and args by Kubernetes rules', () => {
  const both = image({ Entrypoint: ['/e'], Cmd: ['c'] }).config;
  const line = (container: Partial<Container>) => commandLine({ image: 'x', ...container }, both, 'x');
  assert.deepEqual(line({}), ['/e', 'c']);
  assert.deepEqual(line({ args: ['a'] }), ['/e', 'a']);
  assert.deepEqual(line({ command: ['/k'] }), ['/k']);
  assert.deepEqual(line({ command: ['/k'], args: ['a'] }), ['/k', 'a']);
  assert.throws(() => commandLine({ image: 'x' }, image().config, 'x'), { code: 'ImageHasNoCommand' });
});

test('references to variables', () => {
  const env = { A: '1', B: 'two' };
  assert.equal(expand('$(A)-$(B)-$(C)-$$(A)-$A', env), '1-two-$(C)-$(A)-$A');
  assert.equal(expand('$(toString)', env), '$(toString)');
});

test('the process: env in order of precedence, user, folder, port', async () => {
  const plan = await planProcess(
    workload({
      env: [
        { name: 'A', value: '$(IMG)!' },
        { name: 'PORT', value: '1' },
      ],
      args: ['$(K_REVISION)'],
      ports: [{ containerPort: 9000 }],
    }),
    image({ Env: ['IMG=i', 'A=old'], Entrypoint: ['/e'], User: 'web', WorkingDir: 'new/../app', StopSignal: 'SIGINT' }),
  );
  assert.deepEqual(plan.args, ['/e', 'hi-00001']);
  assert.equal(plan.env['A'], 'i!');
  assert.equal(plan.env['PORT'], '9000');
  assert.equal(plan.env['K_SERVICE'], 'hi');
  assert.equal(plan.user.uid, 33);
  assert.deepEqual([plan.cwd, plan.makeCwd, plan.makeTmp, plan.stopSignal], ['/app', true, true, 'SIGINT']);
  await assert.rejects(planProcess(workload({ securityContext: { runAsNonRoot: true } }), image({ Cmd: ['x'] })), {
    code: 'RunAsRootRefused',
  });
});

interface Spec {
  process: { capabilities: Record<string, string[]>; noNewPrivileges: boolean; env: string[]; user: { uid: number } };
  root: { readonly: boolean };
  linux: {
    resources: { memory: object; cpu: { quota?: number; period?: number }; pids: object };
    namespaces: { type: string; path?: string }[];
    seccomp: { defaultAction: string; syscalls: { names: string[]; action: string }[] };
  };
}

async function spec(container: Partial<Container>): Promise<Spec> {
  const made = workload(container);
  const process = await planProcess(made, image({ Cmd: ['/x'] }));
  return makeSpec({
    cgroupsPath: '/ebb-1/hi',
    hostname: 'hi-1',
    netns: '/run/netns/n2',
    dir: '/run/ebb/sandboxes/hi-1',
    process,
    container: { image: 'x', ...container },
    volumes: [],
    limits: settingsOf(made).limits,
    arch: 'x64',
    swapAccounting: true,
    openFiles: 20_000,
  }) as Spec;
}

test('the OCI configuration shuts in what it should', async () => {
  const plain = await spec({ resources: { limits: { cpu: '500m', memory: '64Mi' } } });
  assert.deepEqual(plain.linux.resources.memory, { limit: 2 ** 26, swap: 2 ** 26 });
  assert.deepEqual(plain.linux.resources.cpu, { shares: 512, period: 100_000, quota: 50_000 });
  assert.deepEqual(
    plain.linux.namespaces.map((n) => n.type),
    ['pid', 'mount', 'ipc', 'uts', 'cgroup', 'network'],
  );
  assert.ok(plain.process.noNewPrivileges);
  assert.ok(plain.process.env.includes('HOSTNAME=hi-1'));
  assert.ok(!plain.process.capabilities['bounding']?.includes('CAP_NET_RAW'));
  const allowed = plain.linux.seccomp.syscalls.filter((s) => s.action === 'SCMP_ACT_ALLOW').flatMap((s) => s.names);
  assert.equal(plain.linux.seccomp.defaultAction, 'SCMP_ACT_ERRNO');
  for (const call of [
    'mount',
    'bpf',
    'unshare',
    'setns',
    'ptrace',
    'init_module',
    'keyctl',
    'userfaultfd',
    'io_uring_setup',
  ])
    assert.ok(!allowed.includes(call), call);
  const user = await spec({ securityContext: { runAsUser: 1000, readOnlyRootFilesystem: true } });
  assert.deepEqual([user.process.user.uid, user.root.readonly], [1000, true]);
  assert.deepEqual(user.process.capabilities['effective'], []);
  const dropped = await spec({ securityContext: { capabilities: { drop: ['ALL'] } } });
  assert.deepEqual(dropped.process.capabilities['bounding'], []);
  const some = await spec({ securityContext: { capabilities: { drop: ['chown'] } } });
  assert.ok(!some.process.capabilities['bounding']?.includes('CAP_CHOWN'));
});

test('annotations are checked', () => {
  assert.equal(settingsOf(workload({}, { 'ebb.dev/termination-grace-period': '5s' })).graceMs, 5000);
  assert.deepEqual(settingsOf(workload({}, { 'ebb.dev/writable': 'disk' })).writable, { kind: 'disk', bytes: 2 ** 31 });
  for (const annotations of [
    { 'ebb.dev/writable': 'tape' },
    { 'ebb.dev/writable': 'disk', 'ebb.dev/writable-size': '1' },
    { 'serving.knative.dev/progress-deadline': 'soon' },
    { 'ebb.dev/termination-grace-period': '2h' },
  ])
    assert.throws(() => settingsOf(workload({}, annotations)), { code: 'InvalidAnnotation' });
});
