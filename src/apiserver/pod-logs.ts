import type { Hono } from 'hono';
import type { ApiEnv } from './app.ts';
import { flagOf, numberOf } from './query.ts';
import { notFound } from './status.ts';
import { podKind } from '../resources/api.ts';
import type { PodLogOptions, PodView } from './views.ts';

/** `GET /api/v1/namespaces/NS/pods/NAME/log`: `kubectl logs`. */
export function podLogRoutes(app: Hono<ApiEnv>, pods: PodView, serverSignal: AbortSignal): void {
  app.get('/api/v1/namespaces/:namespace/pods/:name/log', async (c) => {
    const { namespace, name } = c.req.param();
    if (!(await pods.get(namespace, name))) throw notFound(podKind, name);
    const query = (key: string) => c.req.query(key);
    const options: PodLogOptions = {
      follow: flagOf(query, 'follow') ?? false,
      timestamps: flagOf(query, 'timestamps') ?? false,
      previous: flagOf(query, 'previous') ?? false,
    };
    const [sinceSeconds, tailLines] = [numberOf(query, 'sinceSeconds'), numberOf(query, 'tailLines')];
    if (sinceSeconds !== undefined) options.sinceSeconds = sinceSeconds;
    if (tailLines !== undefined) options.tailLines = tailLines;
    const container = query('container');
    if (container) options.container = container;

    const end = new AbortController();
    const signal = AbortSignal.any([serverSignal, end.signal]);
    const chunks = pods.logs(namespace, name, options, signal)[Symbol.asyncIterator]();
    let left = numberOf(query, 'limitBytes') ?? Infinity;
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = await chunks.next();
          if (done) return controller.close();
          const bytes = Buffer.from(value).subarray(0, left);
          left -= bytes.length;
          if (bytes.length > 0) controller.enqueue(bytes);
          if (left <= 0) {
            end.abort();
            controller.close();
          }
        },
        async cancel() {
          end.abort();
          await chunks.return?.();
        },
      },
      { highWaterMark: 0 },
    );
    return c.newResponse(body, 200, { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' });
  });
}
