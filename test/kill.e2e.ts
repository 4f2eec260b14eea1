import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { root, run, startEbb, type TestEbb } from './support/ebb.ts';

const hello = join(root, 'examples/hello');

describe('kill -9 of anything, at any moment', () => {
  let ebb: TestEbb;
  before(async () => {
    ebb = await startEbb();
    await ebb.ok('deploy', hello, '--min', '1');
  });
  after(() => ebb[Symbol.asyncDispose]());

  const host = 'hello.default.localhost';
  const ready = async () => (await ebb.instances('hello')).filter((i) => i.ready).map((i) => i.name);

  it('the control process: requests go on; the next one adopts what runs', async () => {
    const before = await ready();
    await killed(ebb.controlPid());
    for (let i = 0; i < 20; i++) assert.equal((await ebb.request(host)).status, 200);
    await up();
    assert.deepEqual(await ready(), before, 'the same instances, not new ones');
    assert.equal((await ebb.request(host)).status, 200);
  });

  it('the gateway: a new one is up at once, instances stay', async () => {
    const before = await ready();
    const pid = await ebb.gatewayPid();
    await killed(pid);
    await ebb.until('a new gateway', async () => (await ebb.gatewayPid().catch(() => pid)) !== pid);
    await ebb.until('an answer', async () => (await ebb.request(host).catch(() => undefined))?.status === 200);
    assert.deepEqual(await ready(), before);
  });

  it('both', async () => {
    const before = await ready();
    const gateway = await ebb.gatewayPid();
    await killed(ebb.controlPid());
    await killed(gateway);
    await up();
    await ebb.until('an answer', async () => (await ebb.request(host).catch(() => undefined))?.status === 200);
    assert.deepEqual(await ready(), before);
  });

  it('conmon: the instance is replaced, requests are served', async () => {
    const before = await ready();
    const conmons = processesOf(ebb.runDir, 'conmon').filter(({ line }) => before.some((name) => line.includes(name)));
    assert.equal(conmons.length, 1);
    await killed(conmons[0]!.pid);
    await ebb.until('another instance', async () => {
      const now = await ready();
      return now.length === 1 && now[0] !== before[0];
    });
    assert.equal((await ebb.request(host)).status, 200);
  });

  it('the control process in the middle of a deploy: it is either unknown or goes on to be ready', async () => {
    const deploying = ebb.cli('deploy', join(root, 'examples/site'), '--name', 'midway', '--timeout', '20s');
    await ebb.until('the service to be stored', async () => (await ebb.ok('services')).includes('midway'), 20_000);
    await killed(ebb.controlPid());
    await deploying;
    await up();
    await ebb.until('midway', async () => (await ebb.request('midway.default.localhost')).status === 200);
  });

  it('the control process under load: no request fails', async () => {
    let stop = false;
    const statuses = new Map<number | string, number>();
    const load = Array.from({ length: 8 }, async () => {
      while (!stop) {
        const status = await ebb.request(host).then(
          (a) => a.status,
          (e: Error) => e.message,
        );
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    await killed(ebb.controlPid());
    await up();
    stop = true;
    await Promise.all(load);
    assert.deepEqual([...statuses.keys()], [200]);
  });

  it('what was acknowledged is there after all of it', async () => {
    const services = await ebb.json<{ items: { metadata: { name: string } }[] }>('services');
    assert.deepEqual(services.items.map((s) => s.metadata.name).sort(), ['hello', 'midway']);
  });

  it('a second ebb up on the same data directory is refused', async () => {
    const second = await ebb.up();
    assert.equal(second.code, 1);
    assert.match(second.stderr, /running/);
    const elsewhere = await run(join(root, 'bin/ebb'), [
      ...['up', '--detach', '--data-dir', ebb.dataDir, '--run-dir', `${ebb.runDir}-2`],
      ...['--gateway-listen', '127.0.0.1:0', '--api-listen', '127.0.0.1:0'],
    ]);
    assert.notEqual(elsewhere.code, 0);
    assert.match(elsewhere.stderr, /another Ebb is running/);
  });

  it('the control process, and then ebb down: nothing is left', async () => {
    await killed(ebb.controlPid());
    await ebb.ok('down');
    assert.deepEqual(processesOf(ebb.runDir), []);
    await up();
    await ebb.until('an answer', async () => (await ebb.request(host).catch(() => undefined))?.status === 200);
  });

  async function up(): Promise<void> {
    const result = await ebb.up();
    assert.equal(result.code, 0, result.stdout + result.stderr);
  }
});

async function killed(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
}

function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false; // gone from /proc
  }
}

function processesOf(runDir: string, name = ''): { pid: number; line: string }[] {
  return readdirSync('/proc')
    .filter((d) => /^\d+$/.test(d) && Number(d) !== process.pid)
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(runDir) && line.includes(name) ? [{ pid: Number(pid), line }] : [];
      } catch {
        return []; // it ended meanwhile
      }
    });
}
