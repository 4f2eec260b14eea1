import type { Hono } from 'hono';
import type { Engine } from '../../engine/engine.ts';
import { EbbError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import { ndjson } from './ndjson.ts';

/**
 * `GET .../services/NAME/log?follow&sinceSeconds&tailLines`: what all instances of a Service printed, past ones too, in
 * order of time: newline-delimited JSON of {@link LogLine}.
 */
export function logRoutes(
  app: Hono,
  deps: {
    engine: Engine;
    serviceExists: (namespace: string, name: string) => Promise<boolean>;
    logger: Logger;
    now: () => number;
  },
): void {
  app.get('/apis/ebb.dev/v1alpha1/namespaces/:namespace/services/:name/log', async (c) => {
    const { namespace, name } = c.req.param();
    if (!(await deps.serviceExists(namespace, name))) {
      throw new EbbError(
        'NotFound',
        404,
        `services.serving.knative.dev "${name}" not found in namespace "${namespace}"`,
      );
    }
    const sinceSeconds = count(c.req.query('sinceSeconds'), 'sinceSeconds');
    const tailLines = count(c.req.query('tailLines'), 'tailLines');
    const follow = c.req.query('follow') === 'true';
    return ndjson(c, deps.logger, async (write, signal) => {
      const lines = deps.engine.logs({
        of: { namespace, service: name },
        follow,
        signal,
        ...(sinceSeconds === undefined ? {} : { sinceMs: deps.now() - sinceSeconds * 1000 }),
        ...(tailLines === undefined ? {} : { tailLines }),
      });
      for await (const line of lines) await write(line);
    });
  });
}

function count(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,9}$/.test(value))
    throw new EbbError('BadRequest', 400, `${name} "${value.slice(0, 40)}" is not a whole number`);
  return Number(value);
}
