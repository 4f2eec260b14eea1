import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const { PORT = 8080, START_DELAY_MS = 3000 } = process.env;
const maxMs = 10 * 60_000;
let stopping = false;

const routes = {
  '/': async (query, response) => response.end('ready at last; try /slow?ms=2000 and /stream\n'),

  /** Says nothing for `ms`, then answers. */
  '/slow': async (query, response) => {
    const ms = bounded(query.get('ms'), 1000);
    await sleep(ms);
    response.end(`that took ${ms} ms\n`);
  },

  /** `count` lines, one every `every` milliseconds. */
  '/stream': async (query, response) => {
    const count = bounded(query.get('count'), 10);
    const every = bounded(query.get('every'), 500);
    for (let i = 1; i <= count && !response.destroyed; i++) {
      response.write(`${i} of ${count}\n`);
      if (i < count) await sleep(every);
    }
    response.end();
  },
};

function bounded(value, otherwise) {
  const number = Number(value ?? otherwise);
  return Number.isFinite(number) ? Math.min(Math.max(0, Math.trunc(number)), maxMs) : otherwise;
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  if (stopping) response.setHeader('connection', 'close');
  const route = routes[url.pathname];
  if (!route) return response.writeHead(404).end('not found\n');
  return route(url.searchParams, response);
});

process.on('SIGTERM', () => {
  stopping = true;
  if (!server.listening) process.exit(0);
  // Long requests are finished first; the platform decides how long that may take.
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});

console.log(`slow starts, which takes ${START_DELAY_MS} ms`);
await sleep(Number(START_DELAY_MS));
server.listen(PORT, () => console.log(`slow listens on port ${PORT}`));
