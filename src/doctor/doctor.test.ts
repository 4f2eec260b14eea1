import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemSpawner, type Spawner } from '../platform/spawn.ts';
import { cgroupVerdict } from './cgroup.ts';
import { runChecks, type Check } from './check.ts';
import { machineChecks } from './checks.ts';
import { diskCheck, memoryCheck, nodeCheck, rootCheck } from './host.ts';
import { namespacesCheck, nftablesCheck, overlayCheck, seccompCheck } from './kernel.ts';
import { buildahCheck, packagesCheck } from './packages.ts';
import { listeningInodes, portOwner } from './port-owner.ts';
import { portCheck } from './ports.ts';
import { runtimeCheck } from './runtime.ts';

const one = async (check: Check) => (await runChecks([check], new AbortController().signal))[0]!;
const spawner = (code: number, output = ''): Spawner => ({
  run: async () => ({ code, stdout: output, stderr: output }),
});

describe('cgroupVerdict', () => {
  const v1 = ['cpu', 'memory', 'pids'].map((c) => `cgroup /sys/fs/cgroup/${c} cgroup rw,relatime,${c} 0 0`).join('\n');
  const v2 = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0';
  const cases: [string, string, string | undefined, string, RegExp][] = [
    ['v1', v1, undefined, 'ok', /^v1/],
    ['hybrid', `${v1}\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0`, undefined, 'ok', /^hybrid/],
    ['v2', v2, 'cpuset cpu io memory pids\n', 'ok', /^v2/],
    ['v2 without memory', v2, 'cpu pids\n', 'fail', /without memory/],
    ['v1 without pids', v1.replaceAll('pids', 'blkio'), undefined, 'fail', /without pids/],
    ['v2 read-only', v2.replace('rw', 'ro'), 'cpu memory pids', 'fail', /read-only/],
    ['v1 read-only', v1.replaceAll('rw', 'ro'), undefined, 'fail', /read-only/],
    ['nothing', 'proc /proc proc rw 0 0', undefined, 'fail', /no cgroups/],
  ];
  for (const [what, mounts, unified, state, message] of cases) {
    it(what, () => {
      const verdict = cgroupVerdict(mounts, unified);
      assert.equal(verdict.state, state);
      assert.match(verdict.message, message);
    });
  }
});

describe('the checks', () => {
  const failing: [string, Check, string, RegExp][] = [
    ['an old Node', nodeCheck('22.1.0'), 'fail', /npm install/],
    ['no root', rootCheck(false), 'fail', /sudo/],
    ['missing packages', packagesCheck(() => false), 'fail', /apt-get install -y conmon iproute2 nftables .*crun runc/],
    ['no buildah', buildahCheck(() => false), 'warn', /apt-get install -y buildah/],
    ['no user namespace', namespacesCheck((path) => !path.endsWith('/net')), 'fail', /CONFIG_NAMESPACES/],
    ['no seccomp', seccompCheck(() => Promise.reject(new Error('no'))), 'fail', /CONFIG_SECCOMP_FILTER/],
    ['little memory', memoryCheck(() => Promise.resolve('MemAvailable:   300000 kB')), 'warn', /memory/],
    ['no memory', memoryCheck(() => Promise.resolve('MemAvailable:   3000 kB')), 'fail', /memory/],
    ['no overlay', overlayCheck(spawner(32, 'mount: unknown filesystem'), true, tmpdir()), 'fail', /modprobe overlay/],
    ['no overlay tried', overlayCheck(spawner(0), false, tmpdir()), 'warn', /sudo ebb doctor/],
    ['no nftables', nftablesCheck(spawner(1, 'Operation not supported'), true), 'fail', /CONFIG_NF_TABLES/],
    ['a runtime that is not there', runtimeCheck(spawner(0), { runtime: 'no-such-runtime' }), 'fail', /apt-get/],
    ['a runtime that fails', runtimeCheck(spawner(1), { runtime: '/bin/false' }), 'fail', /install/],
  ];
  for (const [what, check, state, fix] of failing) {
    it(`say what to do about ${what}`, async () => {
      const finding = await one(check);
      assert.equal(finding.state, state);
      assert.match(finding.fix ?? '', fix);
    });
  }

  it('a check that throws is a finding', async () => {
    const finding = await one({ id: 'x', what: 'x', run: () => Promise.reject(new Error('boom')) });
    assert.match(finding.message, /boom/);
  });

  it('an unwritable place for the trial is a finding too, and disk looks at the nearest folder', async () => {
    assert.equal((await one(diskCheck('/no/such/dir'))).id, 'disk');
  });

  it('all of them give an answer on this machine, with unique ids, and leave nothing behind', async () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'ebb-doctor-test-'));
    try {
      const options = { dataDir, runDir: join(dataDir, 'run'), gatewayListen: '127.0.0.1:0', apiListen: '127.0.0.1:0' };
      const findings = await runChecks(
        machineChecks({ ...options, spawner: systemSpawner }),
        new AbortController().signal,
      );
      assert.equal(new Set(findings.map((f) => f.id)).size, findings.length);
      assert.ok(findings.every((f) => f.state === 'ok' || f.fix !== undefined));
      assert.deepEqual(readdirSync(dataDir), []);
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
    assert.ok(!existsSync(dataDir));
  });
});

describe('ports', () => {
  it('a taken one is told with its owner; our own is fine', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      assert.equal(portOwner(port)?.pid, process.pid);
      const address = `127.0.0.1:${port}`;
      const check = (pid: number) =>
        portCheck('p', 'port', '--api-listen', address, { runDir: '/no/such/run', running: { pid } });
      const taken = await one(check(1));
      assert.match(taken.message, new RegExp(`is taken by .* \\(pid ${process.pid}\\)`));
      assert.match(taken.fix ?? '', /ebb up --api-listen HOST:PORT/);
      assert.equal((await one(check(process.pid))).state, 'ok');
    } finally {
      server.close();
    }
  });

  it('an address that this machine does not have is told', async () => {
    const check = portCheck('p', 'port', '--api-listen', '192.0.2.1:1', { runDir: '/x', running: undefined });
    assert.match((await one(check)).message, /no address 192\.0\.2\.1/);
  });

  it("finds listening sockets in the kernel's table", () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1`;
    assert.deepEqual(listeningInodes(table, 8080), ['4711']);
    assert.deepEqual(listeningInodes('', 8080), []);
  });
});
