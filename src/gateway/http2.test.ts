import { test, type TestContext } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { get, host, Rig } from './testing/rig.ts';

/** A gateway before one instance that speaks nothing but HTTP/2; `sessions` counts the connections made to it. */
async function start(t: TestContext, answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void) {
  const backend = { sessions: 0 };
  const server = createServer();
  const open = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    backend.sessions++;
    open.add(session);
  });
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', () => undefined);
    answer(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const rig = await Rig.start({ revision: { protocol: 'h2c' } });
  rig.addInstance((server.address() as AddressInfo).port);
  const client = await rig.client();
  t.after(async () => {
    client[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
    for (const session of open) session.destroy();
    server.close();
  });
  return { client, backend, rig };
}

test('an h2c instance gets requests by HTTP/2 and its responses come out as HTTP/1.1', async (t) => {
  const { client, backend } = await start(t, (stream, headers) => {
    stream.respond({ ':status': 200, 'x-seen': `${headers[':method']} ${headers[':path']} ${headers[':authority']}` });
    stream.end(`for ${headers['forwarded']?.split(';')[0]} te ${headers['te'] ?? 'none'}`);
  });
  const first = await client.send(get('/a?b', 'TE: trailers\r\n')).until((text) => text.endsWith('0\r\n\r\n'));
  assert.match(first, /^HTTP\/1\.1 200 \r\n/);
  assert.ok(first.includes(`x-seen: GET /a?b ${host}\r\n`));
  assert.match(first, /for for=127\.0\.0\.1 te trailers/);
  client.received = '';
  await client.send(get('/c')).until((text) => text.endsWith('0\r\n\r\n'));
  assert.equal(backend.sessions, 1, 'the connection is used again');
});

test('bodies of either framing arrive whole, in both directions', async (t) => {
  const { client } = await start(t, (stream, headers) => {
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    stream.on('end', () => {
      const text = `${headers['content-length'] ?? 'chunked'} ${bytes}`;
      stream.respond({ ':status': 200, 'content-length': text.length });
      stream.end(text);
    });
  });
  const big = 'x'.repeat(300_000);
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${big.length}\r\n\r\n${big}`);
  assert.match(await client.until((text) => text.includes('300000 300000')), /content-length: 13\r\n/i);
  client.received = '';
  const chunk = `${big.length.toString(16)}\r\n${big}\r\n`;
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`);
  await client.until((text) => text.endsWith('chunked 600000'));
});

test('a long response waits for a slow client, and loses nothing', async (t) => {
  const total = 4 * 2 ** 20;
  const { client } = await start(t, (stream) => {
    stream.respond({ ':status': 200, 'content-length': total });
    stream.end(Buffer.alloc(total, 'y'));
  });
  client.send(get('/'));
  await client.until((text) => text.includes('\r\n\r\n'));
  client.socket.pause();
  await new Promise((resolve) => setImmediate(resolve));
  client.socket.resume();
  const text = await client.until((received) => received.length - received.indexOf('\r\n\r\n') - 4 >= total);
  assert.equal(text.length - text.indexOf('\r\n\r\n') - 4, total);
});

test('responses without a body, and trailers', async (t) => {
  const { client } = await start(t, (stream, headers) => {
    switch (headers[':path']) {
      case '/none':
        stream.respond({ ':status': 204 }, { endStream: true });
        return;
      case '/empty':
        stream.respond({ ':status': 200 }, { endStream: true });
        return;
      default:
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end('body');
    }
  });
  assert.doesNotMatch(await client.send(get('/none')).until((text) => text.endsWith('\r\n\r\n')), /content-length/i);
  client.received = '';
  assert.match(await client.send(get('/empty')).until((text) => text.endsWith('\r\n\r\n')), /content-length: 0/i);
  client.received = '';
  const text = await client
    .send(get('/'))
    .until((received) => received.includes('body') && received.endsWith('\r\n\r\n'));
  assert.ok(text.endsWith('4\r\nbody\r\n0\r\ngrpc-status: 0\r\n\r\n'), text);
});

test('a response that is broken off cuts the client off: it is not whole', async (t) => {
  const ways: ((stream: ServerHttp2Stream) => void)[] = [
    (stream) => stream.destroy(new Error('broken off')),
    (stream) => stream.session?.destroy(),
  ];
  for (const breakOff of ways) {
    const { client } = await start(t, (stream) => {
      stream.respond({ ':status': 200 });
      stream.write('half', () => breakOff(stream));
    });
    const text = await client.send(get('/')).end();
    assert.ok(text.includes('half') && !text.includes('0\r\n\r\n'), text);
  }
});

test('a connection that the instance is about to close costs no request', async (t) => {
  const { client, backend } = await start(t, (stream) => {
    stream.respond({ ':status': 200, 'content-length': 2 });
    stream.end('ok');
    stream.session?.close();
  });
  for (let n = 1; n <= 5; n++) {
    client.received = '';
    assert.match(await client.send(get('/')).until((text) => text.endsWith('ok')), /^HTTP\/1\.1 200 /);
    assert.equal(backend.sessions, n);
  }
});

test('an instance that does not speak HTTP/2 gives a 502', async (t) => {
  const rig = await Rig.start({ revision: { protocol: 'h2c' } });
  t.after(() => rig[Symbol.asyncDispose]());
  rig.addInstance(await rig.backend((_request, response) => response.end('http1')));
  using client = await rig.client();
  assert.match(await client.send(get('/')).until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 502 /);
});

test('a field twice that HTTP/2 allows once is the mistake of the client', async (t) => {
  const { client } = await start(t, (stream) => stream.end());
  client.send(get('/', 'Content-Type: a/b\r\nContent-Type: c/d\r\n'));
  assert.match(await client.until((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 400 /);
});
