import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { get, host, Rig, type RigOptions } from './testing/rig.ts';

async function start(t: TestContext, options?: RigOptions): Promise<{ rig: Rig; session: ClientHttp2Session }> {
  const rig = await Rig.start(options);
  const session = connect(`http://127.0.0.1:${rig.port}`);
  t.after(async () => {
    session.destroy();
    await rig[Symbol.asyncDispose]();
  });
  return { rig, session };
}

function request(session: ClientHttp2Session, path: string, more: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const method = more[':method'] ?? 'GET';
  return session.request({ ':authority': host, ':path': path, ...more }, { endStream: method === 'GET' });
}

async function answered(stream: ClientHttp2Stream) {
  const result = { headers: {} as IncomingHttpHeaders, trailers: {} as IncomingHttpHeaders, body: '' };
  stream.on('response', (headers) => (result.headers = headers));
  stream.on('trailers', (trailers) => (result.trailers = trailers));
  stream.on('data', (data: Buffer) => (result.body += data.toString('latin1')));
  // A reset is an error too: the code tells.
  stream.on('error', () => undefined);
  await new Promise<void>((resolve) => stream.on('close', resolve));
  return result;
}

test('many requests at once on one HTTP/2 connection reach an app that speaks HTTP/1.1', async (t) => {
  const { rig, session } = await start(t);
  rig.addInstance(
    await rig.backend((request, response) => {
      response.setHeader('Set-Cookie', ['a=1', 'b=2']);
      response.end(
        `${request.method} ${request.headers.host} ${request.url} for ${request.headers['x-forwarded-for']}`,
      );
    }),
  );
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => answered(request(session, `/${i}?x=y`))));
  all.forEach(({ headers, body }, i) => {
    assert.equal(headers[':status'], 200);
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2']);
    assert.equal(headers.connection, undefined);
    assert.equal(body, `GET ${host} /${i}?x=y for 127.0.0.1`);
  });
  await rig.report('stats', (m) => m.revisions[0]?.requests === 50);
});

test('large bodies, with and without a length, arrive whole in both directions', async (t) => {
  const { rig, session } = await start(t);
  rig.addInstance(await rig.backend((incoming, response) => incoming.pipe(response)));
  const body = 'x'.repeat(2 ** 20);
  for (const more of [{}, { 'content-length': body.length }]) {
    const stream = request(session, '/', { ':method': 'POST', ...more });
    stream.end(body);
    const result = await answered(stream);
    assert.equal(result.headers[':status'], 200);
    assert.equal(result.body.length, body.length);
  }
});

test('both sides stream at the same time', async (t) => {
  const { rig, session } = await start(t);
  rig.addInstance(
    await rig.backend((incoming, response) => {
      response.flushHeaders();
      incoming.on('data', (data: Buffer) => response.write(`echo ${data.toString()}`));
      incoming.on('end', () => response.end());
    }),
  );
  const stream = request(session, '/', { ':method': 'POST' });
  for (const word of ['one', 'two']) {
    stream.write(word);
    const [data] = await once(stream, 'data');
    assert.equal(String(data), `echo ${word}`);
  }
  stream.end();
  stream.resume();
  await once(stream, 'close');
});

test('a unary gRPC call to an app that speaks HTTP/2 keeps its trailers', async (t) => {
  const { rig, session } = await start(t, { revision: { protocol: 'h2c' } });
  const server = createServer();
  const seen: IncomingHttpHeaders[] = [];
  server.on('stream', (stream, headers) => {
    seen.push(headers);
    if (headers[':path'] === '/pkg.Service/Fails') {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true });
      return;
    }
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' }));
    stream.pipe(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  rig.addInstance((server.address() as AddressInfo).port);
  const call = async (path: string) => {
    const stream = request(session, path, { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' });
    stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
    return answered(stream);
  };
  const good = await call('/pkg.Service/Works');
  assert.equal(good.headers['content-type'], 'application/grpc');
  assert.equal(good.body, '\0\0\0\0\x02\b\x01');
  assert.equal(good.trailers['grpc-status'], '0');
  assert.equal(good.trailers['grpc-message'], 'fine');
  assert.equal(seen[0]?.te, 'trailers');
  assert.equal((await call('/pkg.Service/Fails')).headers['grpc-status'], '5');
});

test('the gateway answers for nobody, and refuses what HTTP/1.1 would have refused', async (t) => {
  const { session } = await start(t);
  const unknown = await answered(request(session, '/', { ':authority': 'nobody.example' }));
  assert.equal(unknown.headers[':status'], 404);
  assert.equal(unknown.headers['x-ebb-reason'], 'UnknownHost');
  assert.equal((await answered(request(session, '/', { ':authority': 'a:b' }))).headers[':status'], 400);
});

test('HEAD and 204 have no body', async (t) => {
  const { rig, session } = await start(t);
  rig.addInstance(
    await rig.backend((incoming, response) => {
      if (incoming.method === 'HEAD') response.setHeader('Content-Length', 5);
      else response.statusCode = 204;
      response.end();
    }),
  );
  const head = session.request({ ':authority': host, ':path': '/', ':method': 'HEAD' });
  const result = await answered(head);
  assert.deepEqual([result.headers[':status'], result.headers['content-length']], [200, '5']);
  assert.equal((await answered(request(session, '/'))).headers[':status'], 204);
});

test('a stream that is reset takes its request away; a response that breaks off resets its stream', async (t) => {
  const { rig, session } = await start(t);
  const left = Promise.withResolvers<void>();
  rig.addInstance(
    await rig.backend((incoming, response) => {
      if (incoming.url === '/half') {
        // Without a length only the reset tells that something is missing.
        response.writeHead(200);
        response.write('half', () => response.destroy());
        return;
      }
      response.on('close', () => left.resolve());
      response.write('begun');
    }),
  );
  const abandoned = request(session, '/');
  await once(abandoned, 'data');
  abandoned.close();
  await left.promise;
  const half = request(session, '/half');
  // A reset may overtake what was sent before it.
  assert.ok('half'.startsWith((await answered(half)).body));
  assert.equal(half.rstCode, 2);
});

test('the preface may come in pieces, and only as the first thing', async (t) => {
  const { rig } = await start(t);
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  const settings = '\0\0\0\x04\0\0\0\0\0';
  using slow = await rig.client();
  for (const part of [preface.slice(0, 10), preface.slice(10, 20), preface.slice(20) + settings]) {
    slow.send(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  // The server's own settings frame.
  await slow.until((text) => text.length >= 9 && text[3] === '\x04');
  using late = await rig.client();
  late.send('GET / HTTP/1.1\r\nHost: nobody\r\n\r\n');
  await late.until((text) => text.includes('UnknownHost'));
  late.received = '';
  late.send(preface);
  assert.match(await late.end(), /^HTTP\/1\.1 505 /);
});

test('a preface followed by HTTP/1.1 ends the connection; nothing reaches an instance', async (t) => {
  const { rig } = await start(t);
  let requests = 0;
  rig.addInstance(await rig.backend((_, response) => (requests++, response.end())));
  using client = await rig.client();
  client.send(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${get('/smuggled').repeat(3)}`);
  assert.doesNotMatch(await client.end(), /HTTP\/1/);
  assert.equal(requests, 0);
});

test('closing the gateway lets HTTP/2 requests end', async (t) => {
  const { rig, session } = await start(t);
  const arrived = Promise.withResolvers<() => void>();
  rig.addInstance(await rig.backend((_, response) => arrived.resolve(() => response.end('late'))));
  const stream = request(session, '/');
  const result = answered(stream);
  const finish = await arrived.promise;
  const closed = rig.gateway.close(10_000);
  finish();
  assert.equal((await result).body, 'late');
  await closed;
});
