import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { get, host, Rig } from './testing/rig.ts';

const post = (body: string) => `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** A port on which nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

test('an instance that refuses connections is reported and passed over, also for a POST', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await deadPort(), 'dead');
  rig.addInstance(await rig.backend((_, response) => response.end('alive')), 'alive');
  for (let i = 0; i < 4; i++) {
    using client = await rig.client();
    client.send(post('abc'));
    await client.until((t) => t.endsWith('alive'));
  }
  assert.equal((await rig.report('instance-unreachable')).id, 'dead');
});

test('with nobody else, the request waits for an instance that answers', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await deadPort(), 'dead');
  using client = await rig.client();
  client.send(get('/'));
  await rig.report('activate');
  rig.addInstance(await rig.backend((_, response) => response.end('alive')), 'alive');
  await client.until((t) => t.endsWith('alive'));
});

test('a GET whose instance dies before it answers is repeated on another; a POST is not', async () => {
  await using rig = await Rig.start();
  let deaths = 0;
  const dying = await rig.rawBackend((socket) =>
    socket.once('data', () => {
      deaths++;
      socket.destroy();
    }),
  );
  rig.addInstance(dying, 'a');
  using client = await rig.client();
  client.send(post('abc'));
  const refusal = await client.until((t) => t.endsWith('answered\n'));
  assert.match(refusal, /^HTTP\/1\.1 502 [\s\S]*X-Ebb-Reason: InstanceLost\r\n/);
  assert.equal(deaths, 1);
  rig.addInstance(await rig.backend((_, response) => response.end('alive')), 'b');
  for (let i = 0; i < 4; i++) {
    using other = await rig.client();
    other.send(get('/'));
    await other.until((t) => t.endsWith('alive'));
  }
  assert.ok(deaths > 1);
});

test('repeats are bounded', async () => {
  await using rig = await Rig.start();
  let deaths = 0;
  rig.addInstance(await rig.rawBackend((socket) => socket.once('data', () => (deaths++, socket.destroy()))));
  using client = await rig.client();
  client.send(get('/'));
  assert.match(await client.until((t) => t.endsWith('\n')), /^HTTP\/1\.1 502 /);
  assert.equal(deaths, 3);
});

test('an instance that dies in the middle of its response: the client is cut, not deceived', async () => {
  for (const head of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    await using rig = await Rig.start();
    rig.addInstance(
      await rig.rawBackend((socket) =>
        socket.once('data', () => {
          socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${head.startsWith('T') ? '5\r\n' : ''}abc`);
          setImmediate(() => socket.destroy());
        }),
      ),
    );
    using client = await rig.client();
    client.send(get('/') + get('/next'));
    const all = await client.end();
    assert.equal(all.match(/HTTP\/1\.1 /g)?.length, 1);
    assert.ok(all.endsWith('abc'));
  }
});

const lies: Record<string, string> = {
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  'length and chunked': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'a folded field': 'HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\nContent-Length: 0\r\n\r\n',
  'no HTTP': 'SSH-2.0-OpenSSH\r\n\r\n',
  'an endless head': `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(10_000)}`,
  'endless 1xx': 'HTTP/1.1 103 Early\r\n\r\n'.repeat(50),
  'an upgrade that nobody asked for': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n',
};

for (const [name, text] of Object.entries(lies)) {
  test(`a lying instance gets nothing through: ${name}`, async () => {
    await using rig = await Rig.start();
    rig.addInstance(await rig.rawBackend((socket) => socket.once('data', () => socket.write(text))));
    using client = await rig.client();
    client.send(post('abc'));
    assert.match(await client.until((t) => t.endsWith('\n') && t.includes(' 502 ')), /X-Ebb-Reason: BadResponse\r\n/);
  });
}

test('more bytes than the response said never reach the next client', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.rawBackend((socket, n) =>
      socket.on('data', () =>
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${n}!HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
        ),
      ),
    ),
  );
  using client = await rig.client();
  client.send(get('/') + get('/') + get('/'));
  const all = await client.until((t) => t.endsWith('2!'));
  assert.doesNotMatch(all, /evil/);
});

test('bytes on an idle connection poison it', async () => {
  await using rig = await Rig.start();
  const sent = Promise.withResolvers<void>();
  rig.addInstance(
    await rig.rawBackend((socket, n) =>
      socket.on('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${n}!`);
        if (n === 0)
          setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil', () => sent.resolve()), 20);
      }),
    ),
  );
  using client = await rig.client();
  client.send(get('/'));
  await client.until((t) => t.endsWith('0!'));
  await sent.promise;
  using later = await rig.client();
  later.send(get('/'));
  assert.doesNotMatch(await later.until((t) => t.endsWith('1!')), /evil/);
});

test('a client that goes away takes its request with it: while it waits for the answer, in its body, in the response', async () => {
  await using rig = await Rig.start();
  const closed: string[] = [];
  const wake = Promise.withResolvers<void>();
  const arrived = new Map<string, () => void>();
  const handler = (request: IncomingMessage) => {
    arrived.get(request.url ?? '')?.();
    request.on('error', () => undefined);
    request.socket.on('close', () => {
      closed.push(request.url ?? '');
      if (closed.length === 3) wake.resolve();
    });
  };
  rig.addInstance(
    await rig.backend((request, response) => {
      handler(request);
      if (request.url === '/response') response.write('some');
    }),
  );
  const gone = async (path: string, text: string) => {
    const here = new Promise<void>((resolve) => arrived.set(path, resolve));
    const client = await rig.client();
    client.send(text);
    await here;
    client[Symbol.dispose]();
  };
  await gone('/wait', get('/wait'));
  await gone('/body', `POST /body HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100\r\n\r\nabc`);
  await gone('/response', get('/response'));
  await wake.promise;
  assert.deepEqual(closed.sort(), ['/body', '/response', '/wait']);
});

test('timeouts: 504 before the response; after it has begun, a clean end', async () => {
  for (const revision of [{ timeoutMs: 150 }, { responseStartTimeoutMs: 150 }, { idleTimeoutMs: 150 }]) {
    await using rig = await Rig.start({ revision });
    rig.addInstance(await rig.backend(() => undefined));
    using client = await rig.client();
    client.send(get('/'));
    assert.match(await client.until((t) => t.endsWith('request timeout\n')), /^HTTP\/1\.1 504 /);
  }
  await using rig = await Rig.start({ revision: { timeoutMs: 150 } });
  rig.addInstance(await rig.backend((_, response) => void response.write('begun')));
  using client = await rig.client();
  client.send(get('/'));
  assert.match(await client.end(), /^HTTP\/1\.1 200 [\s\S]*\r\n5\r\nbegun\r\n0\r\n\r\n$/);
});

test('a response that flows may take longer than the timeout', async () => {
  await using rig = await Rig.start({ revision: { timeoutMs: 250 } });
  rig.addInstance(
    await rig.backend((_, response) => {
      let n = 0;
      const timer = setInterval(() => {
        response.write(`${n}`);
        if (++n === 8) {
          clearInterval(timer);
          response.end('end');
        }
      }, 80);
    }),
  );
  using client = await rig.client();
  client.send(get('/', 'Connection: close\r\n'));
  assert.match(await client.end(), /end\r\n0\r\n\r\n$/);
});

test('closing lets what is in flight end, and nothing else in', async () => {
  await using rig = await Rig.start();
  const arrived = Promise.withResolvers<() => void>();
  rig.addInstance(await rig.backend((_, response) => arrived.resolve(() => void response.end('last'))));
  using busy = await rig.client();
  using idle = await rig.client();
  busy.send(get('/'));
  const finish = await arrived.promise;
  const closing = rig.gateway.close(10_000);
  await idle.end();
  finish();
  assert.match(await busy.end(), /Connection: close\r\n[\s\S]*last$/);
  await closing;
  assert.equal(rig.gateway.connections, 0);
});
