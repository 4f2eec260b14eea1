import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { join } from 'node:path';
import { root, startEbb, type TestEbb } from './support/ebb.ts';

describe('every example, deployed from its source folder', () => {
  let ebb: TestEbb;
  before(async () => void (ebb = await startEbb()));
  after(() => ebb[Symbol.asyncDispose]());

  const deploy = (name: string, ...args: string[]) => ebb.ok('deploy', join(root, 'examples', name), ...args);

  it('hello answers, says who it is, goes to zero and comes back', async () => {
    const printed = await deploy('hello', '--scale-to-zero-after', '6s');
    assert.match(printed, /http:\/\/hello\.default\.localhost/);
    const warm = await ebb.request('hello.default.localhost');
    assert.equal(warm.status, 200);
    assert.match(warm.body, /hello/i);

    await ebb.until('hello at zero with a standby', async () => {
      const all = await ebb.instances('hello');
      return all.length === 1 && all[0]?.state === 'Standby';
    });
    const cold = await ebb.request('hello.default.localhost');
    assert.equal(cold.status, 200);
    assert.match(String(cold.headers['server-timing'] ?? ''), /cold/);
  });

  it('api runs a framework from npm, with its lockfile', async () => {
    await deploy('api');
    const answer = await ebb.request('api.default.localhost');
    assert.equal(answer.status, 200);
    assert.match(String(answer.headers['content-type']), /json/);
  });

  it('site serves static files, with types, and its own 404 page', async () => {
    await deploy('site');
    const page = await ebb.request('site.default.localhost');
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-type']), /text\/html/);
    assert.equal((await ebb.request('site.default.localhost', '/no-such-page')).status, 404);
    assert.equal((await ebb.request('site.default.localhost', '/../../etc/passwd')).status, 404);
  });

  it('chat speaks WebSocket through the gateway, both ways', async () => {
    await deploy('chat');
    const open = (name: string) =>
      new Promise<WebSocket>((resolve, reject) => {
        const socket = new WebSocket(`ws://127.0.0.1:${ebb.gatewayPort}/`, {
          headers: { host: 'chat.default.localhost' },
        });
        socket.once('open', () => resolve(socket)).once('error', (e) => reject(new Error(`${name}: ${e.message}`)));
      });
    const [ann, bob] = [await open('ann'), await open('bob')];
    const heard = new Promise<string>((resolve) =>
      bob.on('message', (data: Buffer) => String(data).includes('good evening') && resolve(String(data))),
    );
    ann.send('good evening');
    assert.match(await heard, /good evening/);
    ann.terminate();
    bob.terminate();
  });

  it('python runs on its own base layer', async () => {
    await deploy('python');
    assert.equal((await ebb.request('python.default.localhost')).status, 200);
  });

  it('slow starts slowly and answers slowly, and neither is cut off', async () => {
    await deploy('slow', '--env', 'START_DELAY_MS=1500');
    const answer = await ebb.request('slow.default.localhost', '/slow?ms=1200');
    assert.equal(answer.status, 200);
    assert.ok(answer.ms >= 1200, `${answer.ms} ms`);
  });
});
