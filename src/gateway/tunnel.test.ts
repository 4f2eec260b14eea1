import assert from 'node:assert/strict';
import type { createServer } from 'node:http';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { host, Rig } from './testing/rig.ts';

async function chat(rig: Rig): Promise<void> {
  rig.addInstance(
    await rig.backend(
      (_, response) => response.end('plain'),
      (server: ReturnType<typeof createServer>) => {
        const sockets = new WebSocketServer({ server });
        sockets.on('connection', (socket) => {
          socket.on('message', (data, binary) => socket.send(data, { binary }));
        });
      },
    ),
  );
}

test('WebSocket: messages of any size both ways; one request in flight until it is closed', async () => {
  await using rig = await Rig.start();
  await chat(rig);
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/`, { headers: { Host: host } });
  const messages: string[] = [];
  const got = Promise.withResolvers<void>();
  socket.on('message', (data: Buffer) => {
    messages.push(data.toString());
    if (messages.length === 2) got.resolve();
  });
  await new Promise((resolve) => socket.once('open', resolve));
  socket.send('hello');
  const big = 'x'.repeat(3_000_000);
  socket.send(big);
  await got.promise;
  assert.equal(messages[0], 'hello');
  assert.equal(messages[1] === big, true);
  await rig.report('stats', (m) => m.revisions[0]?.inFlight === 1);
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  socket.close(1000);
  assert.equal(await closed, 1000);
  await rig.report('stats', (m) => m.revisions[0]?.inFlight === 0);
});

test('what the client sends before the 101 is for the tunnel', async () => {
  await using rig = await Rig.start();
  rig.addInstance(
    await rig.rawBackend((socket) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
        if (text.endsWith('\r\n\r\n')) {
          socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi ');
          text = '';
        } else if (text !== '') {
          socket.write(text);
          text = '';
        }
      });
      socket.on('end', () => socket.end(' bye'));
    }),
  );
  using client = await rig.client();
  client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly`);
  await client.until((t) => t.includes('\r\n\r\nhi ') && t.endsWith('early'));
  client.socket.end();
  assert.match(await client.end(), /early bye$/);
});

test('an instance that declines the upgrade just answers', async () => {
  await using rig = await Rig.start();
  rig.addInstance(await rig.backend((_, response) => response.end('no')));
  using client = await rig.client();
  client.send(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n`);
  assert.match(await client.until((t) => t.endsWith('no')), /^HTTP\/1\.1 200 /);
});

test('a tunnel without traffic ends with the idle timeout', async () => {
  await using rig = await Rig.start({ revision: { idleTimeoutMs: 150 } });
  await chat(rig);
  const socket = new WebSocket(`ws://127.0.0.1:${rig.port}/`, { headers: { Host: host } });
  await new Promise((resolve) => socket.once('open', resolve));
  assert.equal(await new Promise<number>((resolve) => socket.once('close', resolve)), 1006);
});
