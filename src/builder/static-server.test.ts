import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

describe('the static file server', () => {
  let dir: string;
  let server: ChildProcess;
  let port: number;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'ebb-static-'));
    const files = {
      'index.html': '<p>home',
      'a b.txt': '0123456789',
      'sub/index.html': 'sub',
      'page.html': 'page',
      '404.html': 'gone',
      '.secret': 'x',
      '.well-known/y': 'y',
      empty: '',
    };
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(dir, path, '..'), { recursive: true });
      await writeFile(join(dir, path), text);
      await utimes(join(dir, path), 0, 0);
    }
    await symlink('/etc', join(dir, 'out'));
    await symlink('page.html', join(dir, 'in.html'));
    const env = { PORT: '0' };
    server = spawn(process.execPath, [join(import.meta.dirname, 'static-server.mjs')], {
      cwd: dir,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(server.stdout ?? server, 'data')) as [Buffer];
    port = Number(/port (\d+)/.exec(line.toString())?.[1]);
  });
  after(async () => {
    server.kill('SIGTERM');
    assert.deepEqual(await once(server, 'exit'), [0, null]);
    await rm(dir, { recursive: true, force: true });
  });

  async function get(path: string, headers: Record<string, string> = {}, method = 'GET') {
    const sent = request({ host: '127.0.0.1', port, path, headers, method, agent: false }).end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
    return { status: response.statusCode, headers: response.headers, body };
  }

  it('serves files with their types', async () => {
    const home = await get('/');
    assert.deepEqual(
      [home.status, home.body, home.headers['content-type']],
      [200, '<p>home', 'text/html; charset=utf-8'],
    );
    assert.equal((await get('/a%20b.txt?x=1')).body, '0123456789');
    assert.equal((await get('/page')).body, 'page');
    assert.equal((await get('/in.html')).body, 'page');
    assert.equal((await get('/empty')).headers['content-length'], '0');
    assert.equal((await get('/.well-known/y')).body, 'y');
  });

  it('answers HEAD as GET without a body, and no other method', async () => {
    const head = await get('/a%20b.txt', {}, 'HEAD');
    assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '10']);
    const post = await get('/', {}, 'POST');
    assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD']);
  });

  it('leads folders to their slash, and nowhere else', async () => {
    const sub = await get('/sub?q=1');
    assert.deepEqual([sub.status, sub.headers.location], [301, '/sub/?q=1']);
    assert.equal((await get('/sub/')).body, 'sub');
    const evil = await get('//evil.example/..%2fsub');
    assert.equal(evil.status, 404);
    assert.equal((await get('//sub')).headers.location, '/sub/');
  });

  it('validates and ranges', async () => {
    const { etag } = (await get('/a%20b.txt')).headers;
    assert.ok(etag);
    assert.equal((await get('/a%20b.txt', { 'if-none-match': `"x", ${etag}` })).status, 304);
    assert.equal((await get('/a%20b.txt', { 'if-none-match': '"x"' })).status, 200);
    const ranges: [string, number, string][] = [
      ['bytes=2-4', 206, '234'],
      ['bytes=7-', 206, '789'],
      ['bytes=-3', 206, '789'],
      ['bytes=5-500', 206, '56789'],
      ['bytes=10-', 416, ''],
      ['bytes=4-2', 200, '0123456789'],
      ['bytes=0-1,3-4', 200, '0123456789'],
      ['rows=0-1', 200, '0123456789'],
    ];
    for (const [range, status, body] of ranges) {
      const got = await get('/a%20b.txt', { range });
      assert.deepEqual([got.status, got.body], [status, body], range);
    }
    assert.equal((await get('/a%20b.txt', { range: 'bytes=0-0', 'if-range': etag })).status, 206);
    assert.equal((await get('/a%20b.txt', { range: 'bytes=0-0', 'if-range': '"x"' })).status, 200);
  });

  it('has its own page for what is not there, and shows nothing that is not the site', async () => {
    const paths = [
      '/nope',
      '/.secret',
      '/../etc/passwd',
      '/%2e%2e/etc/passwd',
      '/out/passwd',
      '/page.html/',
      '/a\\..\\b',
      '/x%00',
    ];
    for (const path of paths) {
      const got = await get(path);
      assert.ok(got.status === 404 ? got.body === 'gone' : got.status === 400, `${path}: ${got.status}`);
    }
    assert.equal((await get('/%')).status, 400);
    assert.equal((await get('/%ff')).status, 400);
  });
});
