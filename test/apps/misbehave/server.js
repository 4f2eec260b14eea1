// An app that does what apps must not do, on request: the tests of bad days deploy it.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:http';

const mode = process.env.MODE ?? '';
const port = Number(process.env.PORT);

if (mode === 'exit') {
  console.error('config file /etc/app.conf is missing');
  process.exit(3);
}
if (mode === 'ignore-sigterm') process.on('SIGTERM', () => console.log('SIGTERM? never'));

const kept = [];
const paths = {
  '/': (_url, res) => res.end(`${process.env.K_REVISION} ${process.env.HOSTNAME}\n`),
  '/wait': (url, res) => setTimeout(() => res.end('waited\n'), Number(url.searchParams.get('ms'))),
  '/unready': (_url, res) => res.writeHead(500).end(),
  '/hog': (_url, res) => {
    for (;;) kept.push(Buffer.alloc(16 * 1024 * 1024, 1));
  },
  '/fork': (_url, res) => {
    let failed = 0;
    let started = 0;
    const done = () => started + failed === 3000 && res.end(`started ${started}, refused ${failed}\n`);
    for (let i = 0; i < 3000; i++) {
      const child = spawn('/bin/sh', ['-c', 'sleep 1']);
      child.once('spawn', () => (started++, done()));
      child.once('error', () => (failed++, done()));
    }
  },
  '/fill': (_url, res) => {
    const file = createWriteStream('/tmp/full');
    const chunk = Buffer.alloc(1024 * 1024);
    const more = () => file.write(chunk, (error) => (error ? undefined : more()));
    file.on('error', (error) => res.end(`${error.code}\n`));
    more();
  },
  '/crash': () => process.exit(7),
  '/forever': (_url, res) => {
    res.write('begun\n');
    console.log('forever begun');
    res.on('close', () => console.log('client gone'));
  },
};

createServer((req, res) => {
  const url = new URL(req.url, 'http://app');
  const act = paths[url.pathname];
  if (act) act(url, res);
  else res.writeHead(404).end();
}).listen(mode === 'wrong-port' ? port + 1 : port, mode === 'loopback' ? '127.0.0.1' : '0.0.0.0');
