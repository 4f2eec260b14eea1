import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { get, host, instanceEntry, revisionEntry, revisionId, Rig } from './testing/rig.ts';

test('a request at zero activates, waits, and is told how long', async () => {
  await using rig = await Rig.start();
  using client = await rig.client();
  client.send(get('/'));
  assert.equal((await rig.report('activate')).queued, 1);
  rig.addInstance(await rig.backend((_, response) => response.end('up')));
  assert.match(await client.until((t) => t.endsWith('up')), /Server-Timing: queue;dur=[\d.]+, cold\r\n/);
  client.received = '';
  client.send(get('/'));
  assert.doesNotMatch(await client.until((t) => t.endsWith('up')), /Server-Timing/);
});

test('10,000 requests at once on a revision at zero: two instances, one request at a time on each', async () => {
  await using rig = await Rig.start({ revision: { containerConcurrency: 1 } });
  const total = 10_000;
  const connections = 500;
  const running = [0, 0];
  let most = 0;
  const backend = (n: number) =>
    rig.backend((_, response) => {
      running[n] = (running[n] ?? 0) + 1;
      most = Math.max(most, running[n] ?? 0);
      setImmediate(() => {
        running[n] = (running[n] ?? 0) - 1;
        response.end('x');
      });
    });
  let answered = 0;
  const all = Promise.withResolvers<void>();
  const sockets = Array.from({ length: connections }, () => {
    const socket = connect(rig.port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const found = text.match(/HTTP\/1\.1 200 OK\r\n/g)?.length ?? 0;
      answered += found;
      if (found > 0) text = '';
      if (answered === total) all.resolve();
    });
    socket.write(get('/').repeat(total / connections));
    return socket;
  });
  await rig.report('stats', (m) => m.revisions[0]?.queued === connections);
  rig.addInstance(await backend(0), 'a');
  rig.addInstance(await backend(1), 'b');
  await all.promise;
  assert.equal(most, 1);
  assert.equal(answered, total);
  for (const socket of sockets) socket.destroy();
});

test('uploads that wait hold no more than their budget in all, and arrive whole', async () => {
  const maxHeldBytes = 200 * 1024;
  await using rig = await Rig.start({ limits: { maxHeldBytes } });
  const body = 'x'.repeat(300 * 1024);
  const clients = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const client = await rig.client();
      return client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n`);
    }),
  );
  await rig.report('stats', (m) => m.revisions[0]?.queued === clients.length);
  let most = 0;
  for (const client of clients) {
    client.send(body);
    // Each read of the gateway's is followed by a look.
    for (let turns = 0; turns < 20; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, rig.gateway.heldBytes);
    }
  }
  assert.ok(most > 0 && most <= maxHeldBytes, `${most} bytes`);
  rig.addInstance(
    await rig.backend((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => response.end(`got ${bytes}.`));
    }),
  );
  for (const client of clients) await client.until((t) => t.endsWith(`got ${body.length}.`));
  assert.equal(rig.gateway.heldBytes, 0);
});

test('an upload that waits is refused when there is no room for what has come of it', async () => {
  await using rig = await Rig.start({ limits: { maxHeldBytes: 10 } });
  using client = await rig.client();
  client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 20\r\n\r\n${'x'.repeat(20)}`);
  assert.match(await client.until((t) => t.endsWith('data\n')), /^HTTP\/1\.1 503 .*X-Ebb-Reason: QueueFull\r\n/s);
  assert.equal(rig.gateway.heldBytes, 0);
  client.received = '';
  client.send(`PUT / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\n${'x'.repeat(10)}`);
  await rig.report('stats', (m) => m.revisions[0]?.queued === 1);
  rig.addInstance(await rig.backend((request, response) => request.pipe(response)));
  await client.until((t) => t.includes('xxxxxxxxxx'));
  assert.equal(rig.gateway.heldBytes, 0);
});

test('refusals are counted', async () => {
  await using rig = await Rig.start({ revision: { failure: 'the image does not start' } });
  using client = await rig.client();
  client.send(get('/'));
  await client.until((t) => t.includes('RevisionFailed'));
  assert.equal((await rig.report('stats')).revisions[0]?.requests, 1);
});

test('a full queue refuses the next one', async () => {
  await using rig = await Rig.start({ limits: { maxQueued: 3 } });
  const clients = await Promise.all([0, 1, 2].map(async () => (await rig.client()).send(get('/'))));
  await rig.report('stats', (m) => m.revisions[0]?.queued === 3);
  using late = await rig.client();
  late.send(get('/'));
  const refusal = await late.until((t) => t.endsWith('full\n'));
  assert.match(refusal, /^HTTP\/1\.1 503 [\s\S]*Retry-After: 1\r\n[\s\S]*\r\npending request queue full\n$/);
  rig.addInstance(await rig.backend((_, response) => response.end('x')));
  await Promise.all(clients.map((c) => c.until((t) => t.endsWith('x'))));
  for (const client of clients) client[Symbol.dispose]();
});

test('first come, first served', async () => {
  await using rig = await Rig.start({ revision: { containerConcurrency: 1 } });
  const order: string[] = [];
  const clients = [];
  for (let i = 0; i < 20; i++) {
    const client = await rig.client();
    client.send(get(`/${i}`));
    clients.push(client);
    // The gateway has read it once it answers another connection that was made later.
    using probe = await rig.client();
    probe.send(get('/', 'K-Network-Probe: probe\r\n'));
    await probe.until((t) => t.endsWith('ok\n'));
  }
  rig.addInstance(
    await rig.backend((request, response) => {
      order.push(request.url ?? '');
      response.end('x');
    }),
  );
  await Promise.all(clients.map((c) => c.until((t) => t.endsWith('x'))));
  assert.deepEqual(
    order,
    Array.from({ length: 20 }, (_, i) => `/${i}`),
  );
  for (const client of clients) client[Symbol.dispose]();
});

test('a client that goes away leaves the queue', async () => {
  await using rig = await Rig.start();
  const gone = await rig.client();
  gone.send(get('/gone'));
  await rig.report('activate');
  gone[Symbol.dispose]();
  await rig.report('stats', (m) => m.revisions[0]?.queued === 0);
  const seen: string[] = [];
  rig.addInstance(
    await rig.backend((request, response) => {
      seen.push(request.url ?? '');
      response.end('x');
    }),
  );
  using client = await rig.client();
  client.send(get('/here'));
  await client.until((t) => t.endsWith('x'));
  assert.deepEqual(seen, ['/here']);
});

test('a revision that cannot start refuses at once, also those who wait', async () => {
  await using rig = await Rig.start();
  using waiting = await rig.client();
  waiting.send(get('/'));
  await rig.report('activate');
  rig.gateway.apply({ type: 'revision', revision: revisionEntry({ failure: 'image "x": no such tag' }) });
  assert.match(
    await waiting.until((t) => t.endsWith('tag\n')),
    /^HTTP\/1\.1 503 [\s\S]*X-Ebb-Reason: RevisionFailed\r\n/,
  );
  using next = await rig.client();
  next.send(get('/'));
  await next.until((t) => t.endsWith('image "x": no such tag\n'));
});

test('waiting ends with the request timeout', async () => {
  await using rig = await Rig.start({ revision: { timeoutMs: 200 } });
  using client = await rig.client();
  client.send(get('/'));
  assert.match(await client.until((t) => t.endsWith('s\n')), /^HTTP\/1\.1 503 [\s\S]*X-Ebb-Reason: QueueTimeout\r\n/);
});

test('a body that comes while its request waits is sent whole', async () => {
  await using rig = await Rig.start();
  using client = await rig.client();
  const body = 'y'.repeat(300_000);
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await rig.report('activate');
  rig.addInstance(
    await rig.backend((request, response) => {
      let length = 0;
      request.on('data', (chunk: Buffer) => (length += chunk.length));
      request.on('end', () => response.end(`got ${length}`));
    }),
  );
  await client.until((t) => t.endsWith('got 300000'));
});

test('the instance with the fewest requests is chosen', async () => {
  await using rig = await Rig.start();
  const held: ServerResponse[][] = [[], [], []];
  for (const n of [0, 1, 2]) rig.addInstance(await rig.backend((_, response) => void held[n]?.push(response)), `i${n}`);
  const clients = [];
  for (let i = 0; i < 9; i++) clients.push((await rig.client()).send(get('/')));
  await rig.report('stats', (m) => m.revisions[0]?.inFlight === 9);
  assert.deepEqual(
    held.map((h) => h.length),
    [3, 3, 3],
  );
  for (const response of held[1] ?? []) response.end('x');
  while (clients.filter((c) => c.received.endsWith('x')).length < 3)
    await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 3; i++) clients.push((await rig.client()).send(get('/')));
  while ((held[1]?.length ?? 0) < 6) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    held.map((h) => h.length),
    [3, 6, 3],
  );
  for (const client of clients) client[Symbol.dispose]();
});

test('drain: no new requests, and the word when the last one has ended', async () => {
  await using rig = await Rig.start();
  let held: ServerResponse | undefined;
  const arrived = Promise.withResolvers<void>();
  const port = await rig.backend((_, response) => {
    held = response;
    arrived.resolve();
  });
  rig.addInstance(port, 'old');
  using client = await rig.client();
  client.send(get('/'));
  await arrived.promise;
  rig.gateway.drain('old');
  rig.gateway.drain('unknown');
  await rig.report('drained', (m) => m.id === 'unknown');
  using next = await rig.client();
  next.send(get('/'));
  await rig.report('activate');
  assert.equal(
    rig.reports.some((m) => m.type === 'drained' && m.id === 'old'),
    false,
  );
  held?.end('last words');
  await client.until((t) => t.endsWith('last words'));
  await rig.report('drained', (m) => m.id === 'old');
  rig.addInstance(await rig.backend((_, response) => response.end('new')), 'new');
  await next.until((t) => t.endsWith('new'));
});

test('an instance that is forgotten and comes back is never given more than its limit', async () => {
  await using rig = await Rig.start({ revision: { containerConcurrency: 1 } });
  const held: ServerResponse[] = [];
  const arrived = Promise.withResolvers<void>();
  const port = await rig.backend((_, response) => {
    held.push(response);
    arrived.resolve();
  });
  rig.addInstance(port, 'a');
  using first = await rig.client();
  first.send(get('/'));
  await arrived.promise;
  rig.gateway.apply({ type: 'instance-gone', id: 'a' });
  rig.gateway.apply({
    type: 'sync',
    routes: [{ host, namespace: 'default', route: 'hello', targets: [{ revision: revisionId, percent: 100 }] }],
    revisions: [revisionEntry({ containerConcurrency: 1 })],
    instances: [instanceEntry(port, 'a')],
  });
  using second = await rig.client();
  second.send(get('/'));
  await rig.report('stats', (m) => m.revisions[0]?.queued === 1 && m.revisions[0].inFlight === 1);
  assert.equal(held.length, 1);
  held[0]?.end('x');
  await first.until((t) => t.endsWith('x'));
  while (held.length < 2) await new Promise((resolve) => setImmediate(resolve));
  held[1]?.end('x');
  await second.until((t) => t.endsWith('x'));
});
