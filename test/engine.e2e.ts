import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineContract, next, states } from '../src/engine/contract.ts';
import type { Drain, Engine, EngineEvent, Instance, Workload, WorkloadKey } from '../src/engine/engine.ts';
import { createLocalEngine, type LocalEngineOptions } from '../src/engine/local/engine.ts';
import { findProgram } from '../src/engine/local/runtime.ts';
import type { ImageStore, LocalImage } from '../src/images/images.ts';
import { systemClock } from '../src/platform/clock.ts';
import { createLogger } from '../src/platform/logger.ts';
import { systemSpawner } from '../src/platform/spawn.ts';
import { macOf } from '../src/engine/local/network.ts';
import { leftovers } from './support/leftovers.ts';

// The local engine on the real runtime, with a static C program as its only image.

const logger = createLogger({ level: process.env['EBB_TEST_LOG'] ? 'debug' : 'silent' });
// Before the first test is defined: after an await in between, node:test takes what it has by then for all there is.
const runtimes = await Promise.all(
  ['crun', 'runc'].map(async (runtime) => ({ runtime, path: await findProgram(runtime) })),
);
let scratch = '';
let layer = '';

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'ebb-engine-'));
  layer = join(scratch, 'layer');
  await mkdir(join(layer, 'etc'), { recursive: true });
  await mkdir(join(layer, 'bin'));
  await writeFile(join(layer, 'etc', 'passwd'), 'root:x:0:0::/:\nweb:x:1234:1235::/:\n');
  execFileSync('gcc', [
    '-static',
    '-O1',
    '-o',
    join(layer, 'bin', 'app'),
    join(import.meta.dirname, 'engine', 'app.c'),
  ]);
});

after(() => rm(scratch, { recursive: true, force: true }));

/** One image, unpacked already: what the store would hand over. */
function images(): ImageStore {
  const image = (reference: string): LocalImage => ({
    reference,
    resolved: `${reference.split(':')[0]}@sha256:${'0'.repeat(64)}`,
    manifest: { mediaType: '', digest: `sha256:${'0'.repeat(64)}`, size: 0 },
    config: {
      architecture: 'amd64',
      os: 'linux',
      config: { Entrypoint: ['/bin/app'] },
      rootfs: { type: 'layers', diff_ids: [] },
    },
    layerDirs: [layer],
  });
  const ensure = (reference: string) => Promise.resolve(image(reference));
  return { ensure } as unknown as ImageStore; // the engine calls nothing else of it
}

interface Subject extends AsyncDisposable {
  engine: Engine;
  options: LocalEngineOptions;
  /** Another engine on the same folders, as after the control process was killed. */
  again(known: readonly Workload[]): Promise<Engine>;
  left(): string[];
}

async function subject(
  changes: Partial<LocalEngineOptions> = {},
  drain: Drain = () => Promise.resolve(),
): Promise<Subject> {
  const dir = await mkdtemp(join(scratch, 'run-'));
  const options: LocalEngineOptions = {
    id: randomBytes(3).toString('hex'),
    runDir: join(dir, 'run'),
    logsDir: join(dir, 'data', 'logs'),
    images: images(),
    spawner: systemSpawner,
    clock: systemClock,
    logger,
    drain,
    ...changes,
  };
  const left = () => leftovers({ dataDir: join(dir, 'data'), runDir: options.runDir, id: options.id });
  let engine = await createLocalEngine(options);
  await engine.adopt([]);
  return {
    engine,
    options,
    left,
    async again(known) {
      engine = await createLocalEngine(options);
      await engine.adopt(known);
      return engine;
    },
    async [Symbol.asyncDispose]() {
      await engine.shutdown();
      assert.deepEqual(left(), []);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

type Changes = { args?: string[]; annotations?: Record<string, string>; memory?: string } & Partial<
  Workload['spec']['containers'][number]
>;

function workload(revision: string, { args, annotations, memory, ...container }: Changes = {}): Workload {
  return {
    namespace: 'default',
    revision,
    service: revision.replace(/-\d+$/, ''),
    configuration: revision.replace(/-\d+$/, ''),
    uid: `uid-${revision}`,
    annotations: { 'ebb.dev/termination-grace-period': '1s', ...annotations },
    spec: {
      timeoutSeconds: 5,
      containers: [
        {
          image: 'ebb.local/app:1',
          ...(args ? { args } : {}),
          resources: { limits: { memory: memory ?? '32Mi' } },
          ...container,
        },
      ],
    },
  };
}

async function run(engine: Engine, what: Workload, count = 1): Promise<Instance[]> {
  const key: WorkloadKey = `${what.namespace}/${what.revision}`;
  await engine.prepare(what);
  engine.scale(key, { instances: count, standby: 0 });
  return states(engine, key, Array<'ready'>(count).fill('ready'));
}

async function get(instance: Instance | undefined, path: string): Promise<string> {
  assert.ok(instance?.address);
  const response = await fetch(`http://${instance.address.host}:${instance.address.port}${path}`, {
    headers: { connection: 'close' },
  });
  return response.text();
}

function failing(engine: Engine): Promise<Extract<EngineEvent, { type: 'failing' }>> {
  return next(engine, (e) => e.type === 'failing') as Promise<Extract<EngineEvent, { type: 'failing' }>>;
}

function processesOf(options: LocalEngineOptions, instance: Instance): number[] {
  const v1 = `/sys/fs/cgroup/pids/ebb-${options.id}/${instance.id}/cgroup.procs`;
  const v2 = `/sys/fs/cgroup/ebb-${options.id}/${instance.id}/cgroup.procs`;
  return readFileSync(existsSync(v1) ? v1 : v2, 'utf8')
    .trim()
    .split('\n')
    .map(Number);
}

for (const { runtime, path } of runtimes) {
  const skip = path ? false : `${runtime} is not installed`;
  describe(`local engine, ${runtime}`, { skip }, () => {
    for (const contract of engineContract)
      test(contract.name, () =>
        contract.run(async ({ drain }) => {
          const made = await subject({ runtime }, drain);
          return {
            engine: made.engine,
            workload,
            crash: (instance) => processesOf(made.options, instance).forEach((pid) => process.kill(pid, 'SIGKILL')),
            [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
          };
        }),
      );

    test('keeps an instance in: namespaces, capabilities, seccomp, read-only paths, other instances', async () => {
      await using s = await subject({ runtime });
      const [one, two] = await run(s.engine, workload('iso-00001'), 2);
      const status = await get(one, '/read/proc/self/status');
      assert.match(status, /^Seccomp:\t2$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^CapEff:\t00000000800405fb$/m);
      assert.match(status, /^Pid:\t1$/m);
      assert.equal(await get(one, '/mount'), 'Operation not permitted');
      assert.equal(await get(one, '/raw'), 'Operation not permitted');
      assert.equal(await get(one, '/write/proc/sys/kernel/hostname'), 'Read-only file system');
      assert.match(await get(one, '/write/sys/fs/cgroup/x'), /Read-only file system|Permission denied/);
      assert.equal(await get(one, '/write/etc/hosts'), 'Read-only file system');
      assert.equal(await get(one, '/write/tmp/x'), 'ok');
      assert.match(await get(two, '/read/tmp/x'), /No such file/);
      assert.equal(await get(one, '/read/etc/hostname'), `${one?.id}\n`);
      assert.match(await get(one, `/connect/${two?.address?.host}/8080`), /timed out|refused|No route|unreachable/);
      const gateway = one?.address?.host.replace(/\.\d+$/, '.1') ?? '';
      assert.match(await get(one, `/connect/${gateway}/22`), /refused/);
      assert.match(await get(one, '/connect/169.254.169.254/80'), /refused/);
      assert.match(await get(one, '/read/proc/1/environ'), /^K_SERVICE=iso$/m);
    });

    test('runs as the user asked for, without capabilities', async () => {
      await using s = await subject({ runtime });
      const security = { runAsUser: 1234, runAsNonRoot: true, readOnlyRootFilesystem: true };
      const [one] = await run(s.engine, workload('user-00001', { securityContext: security }));
      const status = await get(one, '/read/proc/self/status');
      assert.match(status, /^Uid:\t1234\t1234/m);
      assert.match(status, /^Gid:\t1235\t1235/m);
      assert.match(status, /^CapEff:\t0000000000000000$/m);
      assert.equal(await get(one, '/write/x'), 'Read-only file system');
    });

    test('survives the control process: instances and standbys are adopted, strangers removed', async () => {
      await using s = await subject({ runtime });
      const kept = workload('kept-00001');
      await run(s.engine, workload('lost-00001'));
      await s.engine.prepare(kept);
      s.engine.scale('default/kept-00001', { instances: 1, standby: 1 });
      const before = await states(s.engine, 'default/kept-00001', ['ready', 'standby']);
      const running = before.find((i) => i.status.state === 'ready');
      await s.engine[Symbol.asyncDispose]();
      assert.equal(await get(running, '/'), 'hi');
      const engine = await s.again([kept]);
      assert.deepEqual(engine.instances('default/lost-00001'), []);
      const after = engine.instances('default/kept-00001');
      const facts = (all: Instance[]) => all.map((i) => [i.id, i.status.state, i.address?.host]).toSorted();
      assert.deepEqual(facts(after), facts(before));
      assert.equal(await get(running, '/'), 'hi');
      await engine.prepare(kept);
      engine.scale('default/kept-00001', { instances: 2, standby: 0 });
      await states(engine, 'default/kept-00001', ['ready', 'ready']);
      const failed = failing(engine);
      process.kill(processesOf(s.options, running as Instance)[0] ?? 0, 'SIGSEGV');
      process.kill(processesOf(s.options, running as Instance)[0] ?? 0, 'SIGKILL');
      assert.match((await failed).exit.message, /killed by SIGKILL/);
    });

    test('says that an instance used too much memory', async () => {
      await using s = await subject({ runtime });
      const [one] = await run(s.engine, workload('oom-00001'));
      const failed = failing(s.engine);
      await assert.rejects(get(one, '/oom'));
      const { exit } = await failed;
      assert.equal(exit.reason, 'OOMKilled');
      assert.equal(exit.message, 'killed: used more than its 32Mi of memory');
    });
  });
}

describe('local engine, bad days', () => {
  test('an app that exits at once is reported with its last lines, and retried less and less often', async () => {
    await using s = await subject();
    await s.engine.prepare(workload('die-00001', { args: ['die'] }));
    const events: Extract<EngineEvent, { type: 'failing' }>[] = [];
    using _l = s.engine.on((e) => e.type === 'failing' && events.push(e));
    s.engine.scale('default/die-00001', { instances: 1, standby: 1 });
    await next(s.engine, (e) => e.type === 'failing' && e.failures === 2);
    const [first, second] = events;
    assert.equal(first?.exit.code, 3);
    assert.equal(first?.exit.message, 'exited with code 3');
    assert.deepEqual(first?.exit.lastLogLines.toSorted(), ['about to die', 'no config found']);
    const wait = (e: typeof first | undefined) => Math.round(((e?.retryAtMs ?? 0) - (e?.exit.atMs ?? 0)) / 1000);
    assert.deepEqual([wait(first), wait(second)], [1, 2]);
  });

  test('on a full machine standbys give way, and what finds no room waits for it', async () => {
    await using s = await subject({ maxInstances: 3 });
    const [first, second] = ['first-00001', 'second-00001'] as const;
    for (const revision of [first, second]) {
      await s.engine.prepare(workload(revision));
      s.engine.scale(`default/${revision}`, { instances: 0, standby: 1 });
      await states(s.engine, `default/${revision}`, ['standby']);
    }
    let most = 0;
    using _l = s.engine.on(() => (most = Math.max(most, s.engine.instances().length)));
    s.engine.scale(`default/${first}`, { instances: 4, standby: 1 });
    await states(s.engine, `default/${first}`, ['ready', 'ready', 'ready']);
    assert.deepEqual(s.engine.instances(`default/${second}`), []);
    s.engine.scale(`default/${second}`, { instances: 1, standby: 0 });
    s.engine.scale(`default/${first}`, { instances: 2, standby: 0 });
    await states(s.engine, `default/${second}`, ['ready']);
    assert.equal(s.engine.instances(`default/${first}`).length, 2);
    assert.equal(most, 3);
  });

  test('a command that is not there is named', async () => {
    await using s = await subject();
    await s.engine.prepare(workload('none-00001', { command: ['/bin/nothing'] }));
    const failed = failing(s.engine);
    s.engine.scale('default/none-00001', { instances: 1, standby: 0 });
    assert.match((await failed).exit.message, /\/bin\/nothing/);
  });

  test('an app on the wrong port, or on loopback only, is told so', async () => {
    await using s = await subject();
    for (const [args, message] of [
      ['port', 'listens on port 3000, but PORT is 8080'],
      ['loopback', 'listens on 127.0.0.1:8080 only; it must listen on 0.0.0.0:$PORT'],
    ] as const) {
      await s.engine.prepare(workload(`${args}-00001`, { args: [args] }));
      const failed = failing(s.engine);
      s.engine.scale(`default/${args}-00001`, { instances: 1, standby: 0 });
      assert.match((await failed).exit.message, new RegExp(message.replaceAll(/[.$]/g, '\\$&')));
    }
  });

  test('one that never becomes ready is ended at its deadline', async () => {
    await using s = await subject();
    const annotations = { 'serving.knative.dev/progress-deadline': '1s' };
    await s.engine.prepare(workload('late-00001', { args: ['port'], annotations }));
    const failed = failing(s.engine);
    s.engine.scale('default/late-00001', { instances: 1, standby: 0 });
    const { exit } = await failed;
    assert.equal(exit.reason, 'StartTimeout');
    assert.equal(exit.message, 'not ready within 1 s: listens on port 3000, but PORT is 8080');
  });

  test('one that ignores SIGTERM is killed after its grace period', async () => {
    await using s = await subject();
    const [one] = await run(s.engine, workload('stub-00001', { args: ['stubborn'] }));
    const started = performance.now();
    s.engine.scale('default/stub-00001', { instances: 0, standby: 0 });
    const event = await next(s.engine, (e) => e.type === 'removed' && e.instance.id === one?.id);
    assert.ok(performance.now() - started >= 1000);
    assert.ok(event.type === 'removed' && event.instance.status.state === 'exited');
    assert.equal(event.instance.status.exit.reason, 'Stopped');
    assert.equal(event.instance.status.exit.code, 137);
  });

  test('a fork bomb and a full disk stay inside', async () => {
    await using s = await subject();
    const [one] = await run(s.engine, workload('bomb-00001', { memory: '512Mi' }));
    const [made, ...why] = (await get(one, '/fork')).split(' ');
    assert.ok(Number(made) > 500 && Number(made) < 1024, made);
    assert.equal(why.join(' '), 'Resource temporarily unavailable');
    const [two] = await run(s.engine, workload('fill-00001', { memory: '64Mi' }));
    assert.match(await get(two, '/fill'), /^\d+ No space left on device$/);
    assert.equal(await get(two, '/'), 'hi');
    const disk = { 'ebb.dev/writable': 'disk', 'ebb.dev/writable-size': '16Mi' };
    const [three] = await run(s.engine, workload('disk-00001', { annotations: disk }));
    assert.match(await get(three, '/fill'), /^\d+ No space left on device$/);
    assert.equal(await get(three, '/'), 'hi');
  });

  test('an instance whose conmon is killed is replaced', async () => {
    await using s = await subject();
    const [one] = await run(s.engine, workload('conmon-00001'));
    const conmon = Number(readFileSync(join(s.options.runDir, 'sandboxes', one?.id ?? '', 'conmon.pid'), 'utf8'));
    const gone = next(s.engine, (e) => e.type === 'removed' && e.instance.id === one?.id);
    process.kill(conmon, 'SIGKILL');
    await gone;
    const [two] = await states(s.engine, 'default/conmon-00001', ['ready']);
    assert.notEqual(two?.id, one?.id);
    assert.equal(await get(two, '/'), 'hi');
  });

  test('a failing liveness probe replaces the instance, a failing readiness probe only takes it out', async () => {
    await using s = await subject();
    const liveness = { exec: { command: ['/bin/app', 'die'] }, periodSeconds: 1, failureThreshold: 1 };
    await s.engine.prepare(workload('live-00001', { livenessProbe: liveness }));
    const failed = failing(s.engine);
    s.engine.scale('default/live-00001', { instances: 1, standby: 0 });
    assert.equal((await failed).exit.reason, 'LivenessFailed');
    await s.engine.remove('default/live-00001');
    const readiness = { httpGet: { path: '/' }, periodSeconds: 1, failureThreshold: 1 };
    const [one] = await run(s.engine, workload('ready-00001', { readinessProbe: readiness }));
    const [pid = 0] = processesOf(s.options, one as Instance);
    const out = next(s.engine, (e) => e.type === 'instance' && e.instance.status.state === 'starting');
    process.kill(pid, 'SIGSTOP');
    await out;
    process.kill(pid, 'SIGCONT');
    const [again] = await states(s.engine, 'default/ready-00001', ['ready']);
    assert.equal(again?.id, one?.id);
  });

  test('logs are read, followed and rotated; stats are counted', async () => {
    await using s = await subject();
    const [one] = await run(s.engine, workload('log-00001'));
    const stop = new AbortController();
    const followed = (async () => {
      const seen: string[] = [];
      for await (const line of s.engine.logs({
        of: { workload: 'default/log-00001' },
        follow: true,
        signal: stop.signal,
      })) {
        seen.push(line.text);
        if (line.text.startsWith('leaving')) break;
      }
      return seen;
    })();
    await get(one, '/print/10000');
    const log = join(s.options.logsDir, 'default', 'log', 'log-00001', `${one?.id}.log`);
    await get(one, '/print/10000');
    const [usage] = await s.engine.stats();
    assert.ok(usage && usage.cpuNanos > 0 && usage.memoryBytes > 0 && usage.pids === 1);
    const patience = Date.now() + 10_000;
    while (!existsSync(`${log}.1`) && Date.now() < patience) await new Promise((r) => setTimeout(r, 50));
    assert.ok((await stat(`${log}.1`)).size >= 8 * 2 ** 20);
    await get(one, '/exit/7').catch(() => undefined);
    const seen = await followed.finally(() => stop.abort());
    assert.equal(seen.length, 20_002);
    assert.equal(seen[0], 'listening on 8080');
    const tail = [];
    for await (const line of s.engine.logs({
      of: { instance: one?.id ?? '' },
      tailLines: 2,
      signal: AbortSignal.timeout(5000),
    }))
      tail.push(line.text.slice(0, 9));
    assert.deepEqual(tail, ['line 9999', 'leaving w']);
  });

  test('kill -9 of the control process while sandboxes are being made leaves nothing behind', async () => {
    const dir = await mkdtemp(join(scratch, 'killed-'));
    const id = randomBytes(3).toString('hex');
    const folders = { id, runDir: join(dir, 'run'), logsDir: join(dir, 'data', 'logs') };
    const script = join(import.meta.dirname, 'engine', 'victim.ts');
    for (const delayMs of [0, 20, 60, 150]) {
      const victim = spawn(process.execPath, [script, JSON.stringify({ ...folders, layer })], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(victim.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      victim.kill('SIGKILL');
      await once(victim, 'exit');
    }
    const options = { images: images(), spawner: systemSpawner, clock: systemClock, logger };
    const engine = await createLocalEngine({ ...folders, ...options, drain: () => Promise.resolve() });
    await engine.adopt([]);
    assert.deepEqual(engine.instances(), []);
    assert.deepEqual(await readdir(join(folders.runDir, 'sandboxes')), []);
    await engine.shutdown();
    assert.deepEqual(leftovers({ dataDir: join(dir, 'data'), runDir: folders.runDir, id }), []);
    await rm(dir, { recursive: true });
  });

  test('hardware addresses do not change while instances come and go: a stale neighbour entry loses packets', async () => {
    await using s = await subject();
    const bridge = () => readFileSync(`/sys/class/net/ebb${s.options.id}/address`, 'utf8').trim();
    const before = bridge();
    const macs = new Map<string, string>();
    for (let round = 0; round < 4; round++) {
      const key: WorkloadKey = `default/mac-0000${round}`;
      const [one] = await run(s.engine, workload(`mac-0000${round}`));
      const neighbours = execFileSync('ip', ['neigh', 'show', one?.address?.host ?? ''], { encoding: 'utf8' });
      macs.set(one?.address?.host ?? '', /lladdr (\S+)/.exec(neighbours)?.[1] ?? '');
      await s.engine.remove(key);
      assert.equal(bridge(), before);
    }
    for (const [address, mac] of macs) assert.equal(mac, macOf(address));
  });

  test('two engines run side by side and leave each other alone', async () => {
    await using a = await subject();
    await using b = await subject();
    const [one] = await run(a.engine, workload('side-00001'));
    const [two] = await run(b.engine, workload('side-00001'));
    assert.match(await get(one, `/connect/${two?.address?.host}/8080`), /timed out|refused|unreachable/);
    await b.engine.shutdown();
    assert.deepEqual(b.left(), []);
    assert.equal(await get(one, '/'), 'hi');
    assert.deepEqual(await readdir(join(a.options.runDir, 'exits')), []);
  });
});
