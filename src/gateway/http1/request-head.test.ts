import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { FieldNames, HeadError, requestRoles, responseRoles } from './fields.ts';
import { hostOf, readRequestHead } from './request-head.ts';
import { readResponseHead } from './response-head.ts';

const names = new FieldNames(requestRoles);
const read = (text: string) => readRequestHead(names, text);

function accepted(text: string) {
  const head = read(text);
  assert.ok(!(head instanceof HeadError), head instanceof HeadError ? head.message : '');
  return head;
}

test('reads an ordinary head', () => {
  const head = accepted(
    'POST /a?b=c HTTP/1.1\r\nHost: Hello.Default.localhost.:8080\r\nX-One:  1 \r\nContent-Length: 3\r\nx-two: 2\r\n',
  );
  assert.equal(head.method, 'POST');
  assert.equal(head.target, '/a?b=c');
  assert.equal(head.host, 'hello.default.localhost');
  assert.equal(head.authority, 'Hello.Default.localhost.:8080');
  assert.deepEqual(head.body, { kind: 'length', bytes: 3 });
  assert.equal(head.fields.passed, 'X-One:  1 \r\nx-two: 2\r\n');
  assert.equal(head.keepAlive, true);
});

test('takes out hop-by-hop fields and those that Connection names', () => {
  const head = accepted(
    'GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nB: 2\r\n',
  );
  assert.equal(head.fields.passed, 'A: 1\r\nB: 2\r\n');
  assert.equal(head.keepAlive, false);
});

test('an underscore is no back door to fields that the gateway sets', () => {
  const head = accepted('GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1\r\ncontent_length: 7\r\nmy_own: 1\r\n');
  assert.equal(head.fields.passed, 'my_own: 1\r\n');
});

test('absolute-form: its authority counts', () => {
  const head = accepted('GET http://Real.example:80/x?y HTTP/1.1\r\nHost: other\r\n');
  assert.deepEqual([head.host, head.authority, head.target], ['real.example', 'Real.example:80', '/x?y']);
  assert.equal(accepted('OPTIONS http://a HTTP/1.1\r\nHost: a\r\n').target, '*');
  assert.equal(accepted('GET http://a?q HTTP/1.1\r\nHost: a\r\n').target, '/?q');
});

test('upgrades: one protocol, never HTTP/2', () => {
  const upgrade = (value: string) =>
    accepted(`GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${value}\r\n`).upgrade;
  assert.equal(upgrade('websocket'), 'websocket');
  assert.equal(upgrade('h2c'), undefined);
  assert.equal(upgrade('websocket, h2c'), undefined);
});

test('hosts', () => {
  assert.equal(hostOf('A.b.:80'), 'a.b');
  assert.equal(hostOf('[::1]:80'), '[::1]');
  for (const bad of ['a b', 'a:b', 'a/b', 'a@b', 'a:80:80', '[::1', 'a,b\\', 'x'.repeat(301)]) {
    assert.equal(hostOf(bad), undefined, bad);
  }
});

const hostLine = 'Host: a\r\n';
const refused: [name: string, text: string, status: number][] = [
  ['length and chunked', `POST / HTTP/1.1\r\n${hostLine}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n`, 400],
  ['two lengths', `POST / HTTP/1.1\r\n${hostLine}Content-Length: 3\r\nContent-Length: 3\r\n`, 400],
  ['list of lengths', `POST / HTTP/1.1\r\n${hostLine}Content-Length: 3, 3\r\n`, 400],
  ['signed length', `POST / HTTP/1.1\r\n${hostLine}Content-Length: +3\r\n`, 400],
  ['negative length', `POST / HTTP/1.1\r\n${hostLine}Content-Length: -3\r\n`, 400],
  ['hex length', `POST / HTTP/1.1\r\n${hostLine}Content-Length: 0x3\r\n`, 400],
  ['empty length', `POST / HTTP/1.1\r\n${hostLine}Content-Length:\r\n`, 400],
  ['huge length', `POST / HTTP/1.1\r\n${hostLine}Content-Length: 99999999999999999999\r\n`, 400],
  ['space before colon', `POST / HTTP/1.1\r\n${hostLine}Content-Length : 3\r\n`, 400],
  ['space before chunked colon', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding : chunked\r\n`, 400],
  ['two codings', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n`, 400],
  [
    'identity then chunked',
    `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n`,
    400,
  ],
  ['gzip, chunked', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: gzip, chunked\r\n`, 501],
  ['chunked, gzip', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: chunked, gzip\r\n`, 400],
  ['xchunked', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: xchunked\r\n`, 400],
  ['quoted chunked', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding: "chunked"\r\n`, 400],
  ['vertical tab', `POST / HTTP/1.1\r\n${hostLine}Transfer-Encoding:\x0bchunked\r\n`, 400],
  ['chunked in 1.0', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n', 400],
  ['folded', `GET / HTTP/1.1\r\n${hostLine}A: 1\r\n 2\r\n`, 400],
  ['folded coding', `GET / HTTP/1.1\r\n${hostLine}Transfer-Encoding:\r\n chunked\r\n`, 400],
  ['bare LF', `GET / HTTP/1.1\r\nHost: a\nX: 1\r\n`, 400],
  ['bare CR', `GET / HTTP/1.1\r\nHost: a\rX: 1\r\n`, 400],
  ['NUL', `GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n`, 400],
  ['no host', 'GET / HTTP/1.1\r\nX: 1\r\n', 400],
  ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n', 400],
  ['bad host', 'GET / HTTP/1.1\r\nHost: a/b\r\n', 400],
  ['no colon', `GET / HTTP/1.1\r\n${hostLine}nonsense\r\n`, 400],
  ['empty name', `GET / HTTP/1.1\r\n${hostLine}: x\r\n`, 400],
  ['non-ASCII name', `GET / HTTP/1.1\r\n${hostLine}\xe4: x\r\n`, 400],
  ['two spaces', `GET  / HTTP/1.1\r\n${hostLine}`, 400],
  ['tab in line', `GET\t/ HTTP/1.1\r\n${hostLine}`, 400],
  ['trailing space', `GET / HTTP/1.1 \r\n${hostLine}`, 400],
  ['lower-case version', `GET / http/1.1\r\n${hostLine}`, 400],
  ['HTTP/0.9', 'GET /\r\n', 400],
  ['HTTP/2', `PRI * HTTP/2.0\r\n`, 505],
  ['CONNECT', `CONNECT a:80 HTTP/1.1\r\n${hostLine}`, 405],
  ['TRACE', `TRACE / HTTP/1.1\r\n${hostLine}`, 405],
  ['bad method', `GE(T / HTTP/1.1\r\n${hostLine}`, 400],
  ['no leading slash', `GET x HTTP/1.1\r\n${hostLine}`, 400],
  ['star without OPTIONS', `GET * HTTP/1.1\r\n${hostLine}`, 400],
  ['odd expectation', `GET / HTTP/1.1\r\n${hostLine}Expect: a pony\r\n`, 417],
  ['101 fields', `GET / HTTP/1.1\r\n${hostLine}${'A: 1\r\n'.repeat(100)}`, 431],
];

for (const [name, text, status] of refused) {
  test(`refuses: ${name}`, () => {
    const head = read(text);
    assert.ok(head instanceof HeadError);
    assert.equal(head.status, status);
  });
}

test('responses: refuses what could be read in two ways', () => {
  const roles = new FieldNames(responseRoles);
  const bad = [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n',
    'HTTP/1.1 99 OK\r\n',
    'HTTP/1.1 999 OK\r\n',
    'HTTP/2 200 OK\r\n',
    'HTTP/1.1  200 OK\r\n',
    'HTTP/1.1 200 OK\r\nA : 1\r\n',
    'HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n',
    'HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n',
    'nonsense\r\n',
  ];
  for (const text of bad) assert.ok(readResponseHead(roles, text, 'GET') instanceof HeadError, text);
});

test('responses: where the body ends', () => {
  const roles = new FieldNames(responseRoles);
  const body = (text: string, method = 'GET') => {
    const head = readResponseHead(roles, text, method);
    assert.ok(!(head instanceof HeadError));
    return [head.body.kind, head.reusable];
  };
  assert.deepEqual(body('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n'), ['length', true]);
  assert.deepEqual(body('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n', 'HEAD'), ['none', true]);
  assert.deepEqual(body('HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n'), ['none', true]);
  assert.deepEqual(body('HTTP/1.1 304\r\n'), ['none', true]);
  assert.deepEqual(body('HTTP/1.1 200 OK\r\n'), ['close', false]);
  assert.deepEqual(body('HTTP/1.0 200 OK\r\nContent-Length: 3\r\n'), ['length', false]);
  assert.deepEqual(body('HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n'), ['chunked', false]);
});

test('what is accepted here, Node reads the same way', async () => {
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (text: string) => (body += text));
    request.on('end', () => response.end(JSON.stringify([request.method, request.url, body])));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = (text: string) =>
    new Promise<string>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' });
      let received = '';
      socket.on('data', (chunk) => (received += chunk.toString('latin1')));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(received));
      socket.end(text, 'latin1');
    });
  const line = fc.constantFrom(
    'Content-Length: 5',
    'Content-Length: 05',
    'Content-Length: 5 ',
    'Content-Length:\t5',
    'content-length: 5',
    'Content-Length: 5,5',
    'Content-Length : 5',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: CHUNKED',
    'Transfer-Encoding:chunked',
    'Transfer-Encoding: chunked,',
    'X: y',
    'X:',
    ' folded',
    '\tfolded',
    'Connection: close',
    'Expect: 100-continue',
    'A\0: 1',
    'A: \x80',
    'A: \x01',
    'Content_Length: 9',
  );
  const message = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'get'),
    target: fc.constantFrom('/', '/a b', '/a%20b', '*', 'http://a/x', '//x'),
    lines: fc.array(line, { maxLength: 4 }),
    eol: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n'),
  });
  try {
    await fc.assert(
      fc.asyncProperty(message, async ({ method, target, lines, eol }) => {
        const head = `${method} ${target} HTTP/1.1\r\nHost: a\r\n${lines.map((l) => l + eol).join('')}`;
        const ours = read(head);
        if (ours instanceof HeadError) return; // Stricter than Node is right; laxer is not.
        const sent = ours.body.kind === 'chunked' ? '3\r\nabc\r\n0\r\n\r\n' : 'abcde';
        const expected = ours.body.kind === 'none' ? '' : ours.body.kind === 'chunked' ? 'abc' : 'abcde';
        const check = (answer: string) => {
          const final = answer.slice(answer.lastIndexOf('HTTP/1.1 200'));
          if (!answer.includes('HTTP/1.1 200')) {
            // Node may be stricter (it refuses methods that it does not know, for example); then nothing is smuggled.
            assert.match(answer, /^(HTTP\/1\.1 100 Continue\r\n\r\n)?(HTTP\/1\.1 4|$)/);
            return;
          }
          const got = /\[.*?\](?=\r|$)/s.exec(answer)?.[0] ?? final;
          const [gotMethod, , gotBody] = JSON.parse(got) as string[];
          assert.equal(gotMethod, method);
          assert.equal(gotBody, expected);
        };
        const question = `${head}\r\n${sent}`;
        try {
          check(await ask(question));
        } catch {
          // Node resets the connection when bytes are left over, and that may overtake its answer. A real
          // disagreement is there the second time too.
          check(await ask(question));
        }
      }),
      { numRuns: 300 },
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
