import type { Socket } from 'node:net';
import { EbbError } from '../platform/errors.ts';

/** A table of tens of thousands of services fits; a peer gone mad does not. */
const maxLineBytes = 64 * 1024 * 1024;

/**
 * Calls `onLine` for each line that the socket receives. A line over the bound, or an exception of `onLine`, destroys the
 * socket with that error.
 */
export function readLines(socket: Socket, onLine: (line: string) => void): void {
  let parts: Buffer[] = [];
  let length = 0;
  socket.on('data', (chunk) => {
    let from = 0;
    try {
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        parts.push(chunk.subarray(from, at));
        from = at + 1;
        const line = Buffer.concat(parts).toString('utf8');
        parts = [];
        length = 0;
        if (line !== '') onLine(line);
      }
      if (from < chunk.length) {
        parts.push(chunk.subarray(from));
        length += chunk.length - from;
        if (length > maxLineBytes)
          throw new EbbError('LineTooLong', 500, `a message of more than ${maxLineBytes} bytes`);
      }
    } catch (error) {
      socket.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  });
}
