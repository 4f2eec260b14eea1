import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { join } from 'node:path';
import { root, startEbb, type TestEbb } from './support/ebb.ts';
import { serviceYaml } from './support/manifest.ts';

const app = join(root, 'test/apps/misbehave');

describe('apps that misbehave harm only themselves, and say why', () => {
  let ebb: TestEbb;
  before(async () => {
    ebb = await startEbb();
    await ebb.ok('deploy', join(root, 'examples/hello'), '--name', 'neighbour', '--min', '1');
  });
  after(() => ebb[Symbol.asyncDispose]());

  const neighbourAnswers = async () => assert.equal((await ebb.request('neighbour.default.localhost')).status, 200);

  it('exits at once: the deploy fails within seconds, with its last words', async () => {
    const begin = performance.now();
    const result = await ebb.cli('deploy', app, '--name', 'exits', '--env', 'MODE=exit');
    assert.equal(result.code, 5, result.stdout + result.stderr);
    assert.match(result.stdout + result.stderr, /config file \/etc\/app\.conf is missing/);
    assert.ok(performance.now() - begin < 20_000);
    const revision = await ebb.json<{
      items: { status: { conditions: { type: string; status: string; reason: string }[] } }[];
    }>('revisions', 'exits');
    const ready = revision.items[0]?.status.conditions.find((c) => c.type === 'Ready');
    assert.equal(ready?.status, 'False');
    assert.equal(ready?.reason, 'ExitCode3');
    const refused = await ebb.request('exits.default.localhost');
    assert.ok(refused.status === 503 || refused.status === 404, `${refused.status}`);
  });

  it('listens on another port: says which', async () => {
    const result = await ebb.cli('deploy', app, '--name', 'wrong-port', '--env', 'MODE=wrong-port', '--timeout', '30s');
    assert.notEqual(result.code, 0);
    assert.match(result.stdout + result.stderr, /8081/);
  });

  it('listens on its loopback only: says so', async () => {
    const result = await ebb.cli('deploy', app, '--name', 'loopback', '--env', 'MODE=loopback', '--timeout', '30s');
    assert.notEqual(result.code, 0);
    assert.match(result.stdout + result.stderr, /127\.0\.0\.1/);
  });

  it('never becomes ready: the revision fails at its progress deadline', async () => {
    const service = serviceYaml({
      name: 'unready',
      image: await imageOf('exits'),
      annotations: { 'serving.knative.dev/progress-deadline': '4s' },
      readinessPath: '/unready',
    });
    const result = await ebb.cli('deploy', '-f', service.file, '--timeout', '40s');
    service.remove();
    assert.notEqual(result.code, 0);
    assert.match(result.stdout + result.stderr, /Initial scale was never achieved/);
    await ebb.until('the revision to say why', async () =>
      JSON.stringify(await ebb.json('revisions', 'unready')).includes('its readiness probe does not pass'),
    );
  });

  it('exceeds its memory: killed, told so, and back at the next request', async () => {
    await ebb.ok('deploy', app, '--name', 'hog', '--memory', '128Mi');
    const died = await ebb.request('hog.default.localhost', '/hog', { method: 'POST' });
    assert.equal(died.status, 502);
    const back = await ebb.request('hog.default.localhost');
    assert.equal(back.status, 200);
    const events = await ebb.ok('describe', 'hog');
    assert.match(events, /OOMKilled|memory/);
    await neighbourAnswers();
  });

  it('forks wildly: stopped by its pids limit', async () => {
    await ebb.ok('deploy', app, '--name', 'forks', '--memory', '512Mi');
    const answer = await ebb.request('forks.default.localhost', '/fork');
    if (answer.status === 200) assert.match(answer.body, /refused [1-9]/);
    else assert.equal(answer.status, 502);
    await neighbourAnswers();
  });

  it('fills its disk: it gets an error, nobody else does', async () => {
    await ebb.ok('deploy', app, '--name', 'fills', '--memory', '128Mi');
    const answer = await ebb.request('fills.default.localhost', '/fill');
    if (answer.status === 200) assert.equal(answer.body.trim(), 'ENOSPC');
    else assert.equal(answer.status, 502);
    await neighbourAnswers();
  });

  it('ignores SIGTERM: killed after its grace period', async () => {
    const service = serviceYaml({
      name: 'stubborn',
      image: await imageOf('exits'),
      annotations: { 'ebb.dev/termination-grace-period': '2s' },
      env: { MODE: 'ignore-sigterm' },
    });
    await ebb.ok('deploy', '-f', service.file);
    service.remove();
    assert.equal((await ebb.request('stubborn.default.localhost')).status, 200);
    await ebb.ok('delete', 'stubborn');
    await ebb.until('stubborn gone', async () => (await ebb.instances('stubborn')).length === 0, 20_000);
  });

  it('an app without a SIGTERM handler ends at once, not after its grace period', async () => {
    await ebb.ok('deploy', app, '--name', 'plain');
    assert.equal((await ebb.request('plain.default.localhost')).status, 200);
    await ebb.ok('delete', 'plain');
    await ebb.until('plain gone', async () => (await ebb.instances('plain')).length === 0, 15_000);
  });

  it('a crash is replaced; the next request is served', async () => {
    await ebb.ok('deploy', app, '--name', 'crashes');
    assert.equal((await ebb.request('crashes.default.localhost', '/crash', { method: 'POST' })).status, 502);
    assert.equal((await ebb.request('crashes.default.localhost')).status, 200);
  });

  it('a client that goes away in the middle is told to the app', async () => {
    await ebb.ok('deploy', app, '--name', 'leaves');
    const socket = connect(ebb.gatewayPort, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('GET /forever HTTP/1.1\r\nHost: leaves.default.localhost\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await ebb.until('the app to notice', async () => (await ebb.ok('logs', 'leaves')).includes('client gone'));
  });

  it('10,000 requests at once on a service at zero with at most 2 instances: all are served', async () => {
    await ebb.ok(
      'deploy',
      join(root, 'examples/hello'),
      '--name',
      'crowd',
      '--max',
      '2',
      '--scale-to-zero-after',
      '6s',
    );
    await ebb.until('crowd at zero', async () => (await ebb.instances('crowd')).every((i) => i.state === 'Standby'));
    const statuses = new Map<string, number>();
    const one = () =>
      new Promise<void>((resolve) => {
        const count = (status: string) => statuses.set(status, (statuses.get(status) ?? 0) + 1);
        const socket = connect(ebb.gatewayPort, '127.0.0.1');
        let head = '';
        socket.once('connect', () =>
          socket.write('GET / HTTP/1.1\r\nHost: crowd.default.localhost\r\nConnection: close\r\n\r\n'),
        );
        socket.on('data', (chunk: Buffer) => (head = (head + chunk.toString('latin1')).slice(0, 64)));
        socket.once('error', (error) => (head = `error ${error.message}`));
        socket.once('close', () => (count(head.split('\r\n')[0] ?? ''), resolve()));
      });
    await Promise.all(Array.from({ length: 10_000 }, one));
    assert.deepEqual([...statuses], [['HTTP/1.1 200 OK', 10_000]]);
    const running = (await ebb.instances('crowd')).filter((i) => i.state !== 'Standby');
    assert.ok(running.length <= 2, `${running.length} instances`);
  });

  async function imageOf(service: string): Promise<string> {
    const object = await ebb.json<{ spec: { template: { spec: { containers: { image: string }[] } } } }>(
      'describe',
      service,
    );
    return object.spec.template.spec.containers[0]!.image;
  }

  it('names that are invalid or unknown are refused in one sentence', async () => {
    const invalid = await ebb.cli('deploy', app, '--name', 'Not_A_Name');
    assert.notEqual(invalid.code, 0);
    assert.match(invalid.stderr, /Not_A_Name/);
    const unknown = await ebb.cli('describe', `no-${randomBytes(3).toString('hex')}`);
    assert.equal(unknown.code, 3);
    for (const text of [invalid.stderr, unknown.stderr]) assert.doesNotMatch(text, /\n\s+at /);
  });
});
