// Shows what an instance sees of its environment and files, and writes where it is told to.
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';

const tasks = {
  '/env': () => process.env,
  '/file': (path) => ({ content: readFileSync(path, 'latin1'), mode: (lstatSync(path).mode & 0o777).toString(8) }),
  '/list': (path) => readdirSync(path).sort(),
  '/mounts': () => readFileSync('/proc/self/mounts', 'utf8'),
  '/write': (path, bytes) => writeFileSync(path, Buffer.alloc(Number(bytes), 120)),
};

createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://mirror');
  const task = tasks[pathname] ?? (() => 'mirror');
  try {
    response.end(JSON.stringify(task(searchParams.get('path'), searchParams.get('bytes')) ?? 'done'));
  } catch (error) {
    response.writeHead(500).end(JSON.stringify(error.code));
  }
}).listen(process.env.PORT);
