import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

const { PORT = 8080 } = process.env;
const maxMessageBytes = 4096;
const maxBufferedBytes = 64 * 1024;
const page = await readFile(new URL('index.html', import.meta.url));

const server = createServer((request, response) => {
  if (request.method !== 'GET' || request.url !== '/') return response.writeHead(404).end('not found\n');
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-length': page.length });
  response.end(page);
});

const room = new WebSocketServer({ server, maxPayload: maxMessageBytes });

room.on('connection', (socket) => {
  socket.on('error', (error) => console.error(error.message));
  socket.on('message', (data) => say({ text: data.toString(), at: new Date().toISOString() }));
  socket.on('close', () => say({ people: room.clients.size }));
  say({ people: room.clients.size });
});

/** Tells everybody who keeps up; who does not is let go. */
function say(message) {
  for (const client of room.clients) {
    if (client.bufferedAmount > maxBufferedBytes) client.terminate();
    else if (client.readyState === WebSocket.OPEN) client.send(JSON.stringify(message));
  }
}

server.listen(PORT, () => console.log(`chat listens on port ${PORT}`));

process.on('SIGTERM', () => {
  // 1012: service restart; the page connects again and finds the next instance.
  for (const client of room.clients) client.close(1012, 'the room is closing');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), 1000).unref();
});
