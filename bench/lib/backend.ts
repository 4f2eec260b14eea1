/**
 * The instance behind every proxy of the gateway bench, where nginx is not installed: `node backend.ts PORT`. Fixed answers on
 * raw sockets, so that it is not the backend that is measured.
 */
import { createServer } from 'node:net';

const answer = (body: Buffer) =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
const small = answer(Buffer.from('hello world\n'));
const large = answer(Buffer.alloc(100 * 1024, 'x'));

createServer({ noDelay: true }, (socket) => {
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      socket.write(text.startsWith('GET /100k') ? large : small);
      text = text.slice(end + 4);
    }
  });
}).listen(Number(process.argv[2]), '127.0.0.1', 1024);
