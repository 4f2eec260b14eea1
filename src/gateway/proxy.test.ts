import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { ChunkedReader } from './http1/body.ts';
import { get, host, revisionId, Rig, revisionEntry } from './testing/rig.ts';

function bodyOf(response: string): string {
  return response.slice(response.indexOf('\r\n\r\n') + 4);
}

const echo = (rig: Rig) =>
  rig.backend((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (text: string) => (body += text));
    request.on('end', () =>
      response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          headers: request.headers,
          body,
          trailers: request.trailers,
        }),
      ),
    );
  });

test('tells the instance where the request came from, and strips what is for one hop', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await echo(rig));
  using client = await rig.client();
  client.send(
    get(
      '/x?y=1',
      'X-Own: 1\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n',
    ),
  );
  const { url, headers } = JSON.parse(bodyOf(await client.end()));
  assert.equal(url, '/x?y=1');
  assert.equal(headers.host, host);
  assert.equal(headers['x-own'], '1');
  assert.equal(headers['x-hop'], undefined);
  assert.equal(headers['x-forwarded-for'], '10.0.0.9, 127.0.0.1');
  assert.equal(headers['x-forwarded-proto'], 'https');
  assert.equal(headers['forwarded'], `for=10.0.0.9;host=${host};proto=https, for=127.0.0.1`);
  assert.match(headers['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  assert.equal(headers['x-request-id'], headers['traceparent'].slice(3, 35));
});

test('passes a valid trace on and replaces an invalid one', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await echo(rig));
  const seen = async (traceparent: string) => {
    using client = await rig.client();
    client.send(get('/', `Connection: close\r\ntraceparent: ${traceparent}\r\n`));
    return JSON.parse(bodyOf(await client.end())).headers.traceparent as string;
  };
  const good = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  assert.equal(await seen(good), good);
  assert.notEqual(await seen('00-00000000000000000000000000000000-b7ad6b7169203331-01'), good);
});

test('routes by host: any case, with port, with a trailing dot; others are told that nobody is there', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await echo(rig));
  for (const name of [host, host.toUpperCase(), `${host}:8080`, `${host}.`]) {
    using client = await rig.client();
    client.send(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
    assert.match(await client.end(), /^HTTP\/1\.1 200 /, name);
  }
  using client = await rig.client();
  client.send('GET / HTTP/1.1\r\nHost: nobody.example\r\nAccept: application/json\r\nConnection: close\r\n\r\n');
  const answer = await client.end();
  assert.match(answer, /^HTTP\/1\.1 404 [\s\S]*X-Ebb-Reason: UnknownHost\r\n/);
  assert.equal(JSON.parse(bodyOf(answer)).message, 'no service has host nobody.example');
});

test('health on hosts that are no service; network probes on those that are, without waking anybody', async () => {
  await using rig = await Rig.start();
  using client = await rig.client();
  client.send('GET /.well-known/ebb/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  await client.until((text) => /^HTTP\/1\.1 200 [\s\S]*ok\n$/.test(text));
  client.received = '';
  client.send(get('/', 'K-Network-Probe: probe\r\nK-Network-Hash: abc\r\n'));
  await client.until((text) => /^HTTP\/1\.1 200 [\s\S]*K-Network-Hash: abc\r\n[\s\S]*ok\n$/.test(text));
  client.received = '';
  client.send(get('/', 'User-Agent: kube-probe/1.32\r\n'));
  await client.until((text) => text.endsWith('ok\n'));
  assert.deepEqual(rig.reports, []);
});

test('splits traffic by percentage', async () => {
  let point = 0;
  await using rig = await Rig.start({ random: () => point });
  rig.addInstance(await rig.backend((_, response) => response.end('one')));
  rig.gateway.apply({ type: 'revision', revision: revisionEntry({ id: 'default/two' }) });
  rig.addInstance(await rig.backend((_, response) => response.end('two')), 'i2', { revision: 'default/two' });
  rig.gateway.apply({
    type: 'route',
    route: {
      host,
      namespace: 'default',
      route: 'hello',
      targets: [
        { revision: revisionId, percent: 30 },
        { revision: 'default/two', percent: 70 },
      ],
    },
  });
  for (const [at, expected] of [
    [0, 'one'],
    [0.299, 'one'],
    [0.3, 'two'],
    [0.999, 'two'],
  ] as const) {
    point = at;
    using client = await rig.client();
    client.send(get('/', 'Connection: close\r\n'));
    assert.equal(bodyOf(await client.end()), expected);
  }
});

test('keeps connections on both sides and answers pipelined requests in order', async () => {
  await using rig = await Rig.start();
  const ports = new Set<number | undefined>();
  rig.addInstance(
    await rig.backend((request, response) => {
      ports.add(request.socket.remotePort);
      response.end(`[${request.url}]`);
    }),
  );
  using client = await rig.client();
  client.send(
    get('/1') +
      `POST /2 HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\n\r\nabc` +
      get('/3') +
      get('/4', 'Connection: close\r\n'),
  );
  const all = await client.end();
  assert.deepEqual(all.match(/\[[^\]]+\]/g), ['[/1]', '[/2]', '[/3]', '[/4]']);
  assert.equal(ports.size, 1);
});

test('bodies with a length and in chunks, with trailers, both ways, however the bytes arrive', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.backend((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (chunk: Buffer) => parts.push(chunk));
      request.on('end', () => {
        response.setHeader('Trailer', 'X-Sum');
        response.write(Buffer.concat(parts));
        response.addTrailers({ 'X-Sum': String(request.trailers['x-in'] ?? 'none') });
        response.end();
      });
    }),
  );
  const message =
    `POST /a HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-In: 7\r\n\r\n` +
    `POST /b HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfghij`;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(message.length), { maxLength: 5 }), async (cuts) => {
      using client = await rig.client();
      client.socket.setNoDelay(true);
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), message.length]) {
        client.send(message.slice(from, to));
        await new Promise((resolve) => setImmediate(resolve));
        from = to;
      }
      const all = await client.end();
      assert.match(all, /5\r\nabcde\r\n0\r\nX-Sum: 7\r\n\r\n/);
      assert.match(all, /5\r\nfghij\r\n0\r\nX-Sum: none\r\n\r\n$/);
    }),
    { numRuns: 25 },
  );
});

test('HEAD, 204 and 304 have no body, and the connection goes on', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.backend((request, response) => {
      if (request.url === '/204') response.writeHead(204).end();
      else if (request.url === '/304') response.writeHead(304, { ETag: '"x"' }).end();
      else response.setHeader('Content-Length', 5).end('hello');
    }),
  );
  using client = await rig.client();
  client.send(
    `HEAD / HTTP/1.1\r\nHost: ${host}\r\n\r\n` + get('/204') + get('/304') + get('/end', 'Connection: close\r\n'),
  );
  const all = await client.end();
  assert.deepEqual(all.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 204', 'HTTP/1.1 304', 'HTTP/1.1 200']);
  assert.equal(all.match(/hello/g)?.length, 1);
  assert.equal(all.match(/Content-Length: 5/g)?.length, 2);
});

test('100-continue goes through, and so does an answer without it', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.backend(
      (request, response) => void request.on('data', () => undefined).on('end', () => response.end('done')),
      (server) =>
        server.on('checkContinue', (request, response) => {
          if (request.url === '/no') {
            response.writeHead(401).end();
            return;
          }
          response.writeContinue();
          server.emit('request', request, response);
        }),
    ),
  );
  const post = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n`;
  using client = await rig.client();
  client.send(post('/yes'));
  await client.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n');
  client.send('abc');
  await client.until((text) => text.endsWith('done'));
  using other = await rig.client();
  other.send(post('/no'));
  assert.match(await other.end(), /^HTTP\/1\.1 401 /);
});

test('HTTP/1.0: no chunks, keep-alive only on demand', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.backend((request, response) => {
      if (request.url === '/length') response.setHeader('Content-Length', 5);
      response.write('hel');
      response.end('lo');
    }),
  );
  using client = await rig.client();
  client.send(`GET /length HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`);
  assert.match(await client.until((text) => text.endsWith('hello')), /Connection: keep-alive\r\n/);
  client.received = '';
  client.send(`GET /chunks HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`);
  const all = await client.end();
  assert.match(all, /Connection: close\r\n\r\nhello$/);
  assert.doesNotMatch(all, /Transfer-Encoding/);
});

test('a response that ends with its connection reaches an HTTP/1.1 client in chunks', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.rawBackend((socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\nabc');
        socket.end('def');
      });
    }),
  );
  using client = await rig.client();
  client.send(get('/'));
  await client.until((text) => text.endsWith('0\r\n\r\n'));
  const out: Buffer[] = [];
  new ChunkedReader({ decode: true }).feed(Buffer.from(bodyOf(client.received), 'latin1'), 0, out);
  assert.equal(Buffer.concat(out).toString(), 'abcdef');
});

test('a slow client holds the instance back: the gateway keeps little', async () => {
  await using rig = await Rig.start();
  let written = 0;
  rig.addInstance(
    await rig.backend((_, response) => {
      const block = Buffer.alloc(64 * 1024);
      const more = () => {
        while (written < 200 * 1024 * 1024) {
          written += block.length;
          if (!response.write(block)) return;
        }
        response.end();
      };
      response.on('drain', more);
      response.setHeader('Content-Length', 200 * 1024 * 1024);
      more();
    }),
  );
  using client = await rig.client();
  client.send(get('/'));
  await client.until((text) => text.length > 0);
  client.socket.pause();
  let before = -1;
  while (written !== before) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  // Socket buffers of the kernel on both hops, and little else.
  assert.ok(written < 40 * 1024 * 1024, `${written} bytes left the instance`);
});

test('a slow instance holds the client back', async () => {
  await using rig = await Rig.start();
  const connected = Promise.withResolvers<void>();
  rig.addInstance(
    await rig.rawBackend((socket) => {
      socket.pause();
      connected.resolve();
    }),
  );
  using client = await rig.client();
  const total = 100 * 1024 * 1024;
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${total}\r\n\r\n`);
  await connected.promise;
  const block = Buffer.alloc(256 * 1024);
  let stalled = false;
  for (let sent = 0; sent < total && !stalled; sent += block.length) {
    if (client.socket.write(block)) continue;
    const drained = once(client.socket, 'drain').then(() => false);
    stalled = await Promise.race([drained, new Promise<boolean>((r) => setTimeout(() => r(true), 500))]);
  }
  assert.equal(stalled, true);
});

const refusals: Record<string, [string, RegExp]> = {
  'both lengths': [
    `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    /^HTTP\/1\.1 400 /,
  ],
  'bare line feeds': [`GET / HTTP/1.1\nHost: ${host}\n\n`, /^HTTP\/1\.1 400 /],
  'a bad chunk': [`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`, /^HTTP\/1\.1 400 /],
  'an oversized head': [`GET / HTTP/1.1\r\nHost: ${host}\r\nA: ${'x'.repeat(40_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  'an endless head': [`GET / HTTP/1.1\r\nHost: ${host}\r\n${'A: x\r\n'.repeat(7_000)}`, /^HTTP\/1\.1 431 /],
  CONNECT: [`CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}\r\n\r\n`, /^HTTP\/1\.1 405 /],
  'HTTP/3.0': [`GET / HTTP/3.0\r\nHost: ${host}\r\n\r\n`, /^HTTP\/1\.1 505 /],
};

for (const [name, [text, expected]] of Object.entries(refusals)) {
  test(`refuses ${name} and ends the connection; nothing reaches an instance`, async () => {
    await using rig = await Rig.start();
    let requests = 0;
    rig.addInstance(await rig.backend((_, response) => (requests++, response.end())));
    using client = await rig.client();
    client.send(text + get('/smuggled'));
    const all = await client.end();
    assert.match(all, expected);
    assert.match(all, /Connection: close\r\n/);
    assert.equal(all.match(/^HTTP\/1\.1 \d/gm)?.length, 1);
    assert.equal(requests, 0);
  });
}

test('a slow head is bounded, and so is an idle connection', async () => {
  await using rig = await Rig.start({ limits: { headMs: 50, keepAliveMs: 50, lingerMs: 50 } });
  rig.addInstance(await rig.backend((_, response) => response.end('x')));
  using slow = await rig.client();
  slow.send('GET / HTTP/1.1\r\nHo');
  assert.match(await slow.end(), /^HTTP\/1\.1 408 /);
  using idle = await rig.client();
  idle.send(get('/'));
  assert.match(await idle.end(), /x$/);
});

test('more connections than allowed are closed', async () => {
  await using rig = await Rig.start({ limits: { maxConnections: 1 } });
  rig.addInstance(await rig.backend((_, response) => response.end('x')));
  using first = await rig.client();
  first.send(get('/'));
  await first.until((text) => text.endsWith('x'));
  using second = await rig.client();
  assert.equal(await second.end(), '');
});
