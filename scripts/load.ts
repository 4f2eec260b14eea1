import { Agent, request, type IncomingHttpHeaders } from 'node:http';
import { EbbError } from '../src/platform/errors.ts';

export interface Target {
  host: string;
  port: number;
  headers: Record<string, string>;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  firstByteMs: number;
}

/** One GET. Rejects with an EbbError when no complete answer comes. */
export function call(target: Target, signal: AbortSignal, agent?: Agent): Promise<Answer> {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) =>
      reject(new EbbError('CallFailed', 502, `no answer from ${target.headers['host']}: ${cause.message}`, { cause }));
    const call = request({ ...target, signal, ...(agent ? { agent } : { agent: false }) }, (response) => {
      const firstByteMs = performance.now() - begin;
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('error', failed);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, firstByteMs }),
      );
    });
    call.on('error', failed);
    call.end();
  });
}

/** Keeps `connections` requests in flight until the signal aborts. What is cut off then counts neither way. */
export async function load(
  target: Target,
  connections: number,
  signal: AbortSignal,
): Promise<{ requests: number; failed: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const result = { requests: 0, failed: 0 };
  const worker = async () => {
    while (!signal.aborted) {
      try {
        const { status } = await call(target, signal, agent);
        result.requests++;
        if (status !== 200) result.failed++;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof EbbError)) throw error;
        result.failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
  return result;
}
