import { createServer } from 'node:http';
import { hostname } from 'node:os';

const { PORT = 8080, TARGET = 'World', K_REVISION = 'no revision' } = process.env;

const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/plain; charset=utf-8');
  response.end(`Hello ${TARGET}! This is ${hostname()}, ${K_REVISION}.\n`);
});

server.listen(PORT, () => console.log(`hello listens on port ${PORT}`));

// Finish what is being answered, then go.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
