import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { silentLogger } from '../platform/logger.ts';
import { layout } from '../platform/paths.ts';
import { GatewayLink, type GatewaySnapshot } from './link.ts';
import { ensureGateway, type GatewayProcess } from './process.ts';
import { get, host, instanceEntry, RawClient, revisionEntry, revisionId } from './testing/rig.ts';

async function pathsFor(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-gateway-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return { dataDir: join(dir, 'data'), runDir: join(dir, 'run') };
}

async function start(t: TestContext, paths: { dataDir: string; runDir: string }): Promise<GatewayProcess> {
  const gateway = await ensureGateway({ paths, listen: '127.0.0.1:0', logger: silentLogger, graceMs: 1_000 });
  t.after(() => gateway.quit());
  return gateway;
}

function portOf(gateway: GatewayProcess): number {
  return Number(gateway.address.split(':').at(-1));
}

async function backend(t: TestContext, handler: RequestListener): Promise<number> {
  const server = createServer(handler);
  server.listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function tableOf(port: number | undefined, concurrency = 0): GatewaySnapshot {
  return {
    routes: [{ host, namespace: 'default', route: 'hello', targets: [{ revision: revisionId, percent: 100 }] }],
    revisions: [revisionEntry({ containerConcurrency: concurrency })],
    instances: port === undefined ? [] : [instanceEntry(port)],
  };
}

async function ask(port: number): Promise<string> {
  using client = await RawClient.connect(port);
  client.send(get('/', 'Connection: close\r\n'));
  return await client.end();
}

function linkTo(t: TestContext, gateway: GatewayProcess, snapshot: () => GatewaySnapshot): GatewayLink {
  const link = new GatewayLink({ path: gateway.socketPath, snapshot, logger: silentLogger });
  t.after(() => link[Symbol.dispose]());
  return link;
}

test('the gateway outlives its control process, which finds it again', async (t) => {
  const paths = await pathsFor(t);
  const upstream = await backend(t, (_, response) => response.end('up'));
  const first = await start(t, paths);
  const link = linkTo(t, first, () => tableOf(upstream));
  await once(link, 'connected');
  assert.match(await ask(portOf(first)), /up$/);
  assert.equal(statSync(first.socketPath).mode & 0o777, 0o600);
  link[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.match(await ask(portOf(first)), /up$/);
  const second = await start(t, paths);
  assert.equal(second.pid, first.pid);
  assert.equal(second.address, first.address);
  await second.quit();
  await assert.rejects(ask(portOf(first)));
  const lines = readFileSync(layout(paths).accessLog, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(lines.length, 2);
  assert.equal(lines[0].status, 200);
  assert.equal(lines[0].instance, 'i1');
});

test('kill -9 of the control process: requests go on, also those in flight', async (t) => {
  const paths = await pathsFor(t);
  const finish = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const upstream = await backend(t, (request, response) => {
    if (request.url !== '/slow') {
      response.end('up');
      return;
    }
    arrived.resolve();
    void finish.promise.then(() => response.end('slow'));
  });
  // A control process that does the least: starts the gateway, gives it a table, says so, and hangs.
  const script = `
    const { ensureGateway } = await import(${JSON.stringify(import.meta.resolve('./process.ts'))});
    const { GatewayLink } = await import(${JSON.stringify(import.meta.resolve('./link.ts'))});
    const { silentLogger: logger } = await import(${JSON.stringify(import.meta.resolve('../platform/logger.ts'))});
    const gateway = await ensureGateway({ paths: ${JSON.stringify(paths)}, listen: '127.0.0.1:0', logger });
    const link = new GatewayLink({ path: gateway.socketPath, snapshot: () => (${JSON.stringify(tableOf(upstream))}), logger });
    link.on('connected', () => console.log('ready'));
    setInterval(() => undefined, 1000);`;
  const control = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(control.stdout, 'data');
  const gateway = await start(t, paths);
  using slow = await RawClient.connect(portOf(gateway));
  slow.send(get('/slow'));
  await arrived.promise;
  control.kill('SIGKILL');
  await once(control, 'exit');
  assert.match(await ask(portOf(gateway)), /up$/);
  finish.resolve();
  await slow.until((text) => text.endsWith('slow'));
});

test('kill -9 of the gateway: another one takes its place and gets the table', async (t) => {
  const paths = await pathsFor(t);
  const upstream = await backend(t, (_, response) => response.end('up'));
  const gateway = await start(t, paths);
  const link = linkTo(t, gateway, () => tableOf(upstream));
  await once(link, 'connected');
  const { pid, address } = gateway;
  const back = new Promise<{ pid: number; address: string }>((resolve) =>
    link.on('connected', (hello) => hello.pid !== pid && resolve(hello)),
  );
  process.kill(pid, 'SIGKILL');
  const hello = await back;
  assert.equal(hello.address, address);
  assert.match(await ask(portOf(gateway)), /up$/);
  await link.drain('unknown');
});

test('deltas, activation, statistics and drains over the link', async (t) => {
  const paths = await pathsFor(t);
  const gateway = await start(t, paths);
  const table = tableOf(undefined);
  const link = linkTo(t, gateway, () => table);
  await once(link, 'connected');
  using client = await RawClient.connect(portOf(gateway));
  client.send(get('/'));
  const [revision, queued] = await once(link, 'activate');
  assert.deepEqual([revision, queued], [revisionId, 1]);
  const held = Promise.withResolvers<() => void>();
  link.setInstance(instanceEntry(await backend(t, (_, response) => held.resolve(() => void response.end('up')))));
  const release = await held.promise;
  const signal = AbortSignal.abort(new Error('enough'));
  await assert.rejects(link.drain('i1', signal), /enough/);
  const drained = link.drain('i1');
  await link.drain('unknown');
  release();
  await drained;
  await client.until((text) => text.endsWith('up'));
  const [, stats] = await once(link, 'stats');
  assert.equal(stats[0].revision, revisionId);
  assert.ok(stats[0].concurrency > 0);
  link.removeRoute(host);
  await link.drain('unknown');
  assert.match(await ask(portOf(gateway)), /^HTTP\/1\.1 404 /);
});

test('10,000 connections wait on a revision at zero, two instances arrive: every request is answered', async (t) => {
  const paths = await pathsFor(t);
  const gateway = await start(t, paths);
  const link = linkTo(t, gateway, () => tableOf(undefined, 1));
  await once(link, 'connected');
  const total = 10_000;
  let answered = 0;
  const all = Promise.withResolvers<void>();
  const sockets = [];
  for (let i = 0; i < total; i++) {
    const socket = connect(portOf(gateway), '127.0.0.1');
    socket.on('data', (chunk) => {
      if (chunk.includes('200 OK') && ++answered === total) all.resolve();
    });
    socket.on('error', () => undefined); // A lost one shows in the count.
    socket.write(get('/'));
    sockets.push(socket);
    // In groups, so that the kernel's backlog is not what is tested.
    if (i % 250 === 249) await once(socket, 'connect');
  }
  await new Promise<void>((resolve) => link.on('stats', (_, [stats]) => stats?.queued === total && resolve()));
  using late = await RawClient.connect(portOf(gateway));
  late.send(get('/'));
  await late.until((text) => text.endsWith('pending request queue full\n'));
  const counts = [0, 0];
  const running = [0, 0];
  let most = 0;
  for (const n of [0, 1]) {
    const port = await backend(t, (_, response) => {
      counts[n] = (counts[n] ?? 0) + 1;
      running[n] = (running[n] ?? 0) + 1;
      most = Math.max(most, running[n] ?? 0);
      setImmediate(() => {
        running[n] = (running[n] ?? 0) - 1;
        response.end('x');
      });
    });
    link.setInstance(instanceEntry(port, `i${n}`));
  }
  await all.promise;
  assert.equal(most, 1, 'never two at a time on one instance');
  assert.ok(Math.min(...counts) > total / 5, `both worked: ${counts.join(' and ')}`);
  for (const socket of sockets) socket.destroy();
});

test('a port that is taken is named', async (t) => {
  const paths = await pathsFor(t);
  const other = createTcpServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address() as AddressInfo;
  await assert.rejects(ensureGateway({ paths, listen: `127.0.0.1:${port}`, logger: silentLogger }), {
    code: 'PortTaken',
    message: new RegExp(`127.0.0.1:${port} is in use`),
  });
});

test('a gateway of another wire version is replaced', async (t) => {
  const paths = await pathsFor(t);
  mkdirSync(paths.runDir, { recursive: true });
  const { gatewaySocket } = layout(paths);
  const asked: string[] = [];
  const old = createTcpServer((socket) => {
    socket.write('{"type":"hello","version":999,"pid":1,"address":"127.0.0.1:1"}\n');
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      asked.push(chunk.toString());
      if (chunk.includes('"quit"')) {
        old.close();
        socket.destroy();
      }
    });
  }).listen(gatewaySocket);
  await once(old, 'listening');
  chmodSync(gatewaySocket, 0o600);
  const gateway = await start(t, paths);
  assert.match(asked.join(''), /"quit"/);
  assert.notEqual(gateway.pid, 1);
});
