import type { Context } from 'hono';
import { stream } from 'hono/streaming';
import { EbbError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';

/**
 * Answers 200 with newline-delimited JSON while `work` runs. What `work` throws becomes the last line,
 * `{"type":"error","code","message"}`, since the status line is gone by then. `signal` aborts when the client leaves.
 */
export function ndjson(
  c: Context,
  logger: Logger,
  work: (write: (line: object) => Promise<void>, signal: AbortSignal) => Promise<void>,
): Response {
  c.header('Content-Type', 'application/x-ndjson');
  return stream(c, async (out) => {
    const gone = new AbortController();
    out.onAbort(() => gone.abort());
    const write = async (line: object) => void (await out.write(`${JSON.stringify(line)}\n`));
    try {
      await work(write, gone.signal);
    } catch (error) {
      if (gone.signal.aborted) return;
      if (!(error instanceof EbbError)) logger.error({ err: error, path: c.req.path }, 'request failed');
      const known = error instanceof EbbError ? error : undefined;
      await write({
        type: 'error',
        code: known?.code ?? 'InternalError',
        message: known?.message ?? 'something went wrong inside Ebb; its log tells more',
      });
    }
  });
}
