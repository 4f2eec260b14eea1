import { Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Clock } from '../platform/clock.ts';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import { serviceAccountKind, type Kind } from '../resources/api.ts';
import type { ResourceStore } from '../store/store.ts';
import { authorize } from './authorize.ts';
import { discoveryRoutes } from './discovery.ts';
import { openApiRoutes } from './openapi.ts';
import { podLogRoutes } from './pod-logs.ts';
import { resourceRoutes } from './resource-routes.ts';
import { failure } from './status.ts';
import type { TokenIssuer } from './tokens/issuer.ts';
import { tokenRoutes } from './tokens/routes.ts';
import type { PodView } from './views.ts';

/** Who asks. */
export interface User {
  name: string;
  groups: readonly string[];
}

/** Tells who sent a request, or undefined. Sees the headers; must not read the body. */
export type Authenticate = (request: Request) => User | undefined | Promise<User | undefined>;

export interface ApiEnv {
  Variables: { user: User };
}

export interface AppOptions {
  store: ResourceStore;
  kinds: readonly Kind[];
  authenticate: Authenticate;
  /** Gives out the tokens of service accounts; without, there are none. */
  tokens?: TokenIssuer;
  views: { pods?: PodView };
  /** Adds routes behind authentication and error mapping. */
  extend?: ((app: Hono) => void) | undefined;
  clock: Clock;
  logger: Logger;
  version: string;
  /** Ends watches and followed logs. */
  signal: AbortSignal;
}

/** The API as a function from request to response: health, then authentication, then everything else. */
export function createApp(given: AppOptions): Hono<ApiEnv> {
  // A kind that nobody shows is not there at all.
  const kinds = given.kinds.filter((k) => k.source !== 'pods' || given.views.pods);
  const options = { ...given, kinds };
  const { logger, version } = options;
  const app = new Hono<ApiEnv>();

  app.onError((error, c) => {
    const told = error instanceof EbbError ? error : unexpected(error, c.req.method, c.req.path, logger);
    if (told.status >= 500) logger.error({ err: error, method: c.req.method, path: c.req.path }, 'a request failed');
    if (told.status === 401) c.header('www-authenticate', 'Bearer realm="ebb"');
    // The status is an HTTP status by the promise of EbbError.
    return c.json(failure(told), told.status as ContentfulStatusCode);
  });
  app.notFound((c) => {
    const error = new EbbError('NotFound', 404, `the server could not find the requested resource: ${c.req.path}`);
    return c.json(failure(error), 404);
  });

  for (const path of ['/healthz', '/livez', '/readyz']) app.get(path, (c) => c.text('ok'));

  app.use('*', async (c, next) => {
    const user = await options.authenticate(c.req.raw);
    if (!user) {
      throw new EbbError(
        'Unauthorized',
        401,
        'Unauthorized: send the bearer token of the kubeconfig ("ebb kubeconfig" prints it)',
      );
    }
    authorize(user, c.req.method, c.req.path);
    c.set('user', user);
    await next();
  });

  discoveryRoutes(app, kinds, version);
  openApiRoutes(app, kinds, version);
  if (options.views.pods) podLogRoutes(app, options.views.pods, options.signal);
  if (options.tokens) tokenRoutes(app, serviceAccountKind, { tokens: options.tokens, store: options.store });
  resourceRoutes(app, options);
  if (options.extend) {
    const extension = new Hono();
    options.extend(extension);
    app.route('/', extension);
  }
  return app;
}

function unexpected(error: unknown, method: string, path: string, logger: Logger): EbbError {
  // Paths and queries that cannot be decoded are the client's fault.
  if (error instanceof URIError)
    return new EbbError('BadRequest', 400, `the URL cannot be decoded: ${messageOf(error)}`);
  logger.debug({ method, path }, 'the error is not one of those that users are told');
  return new EbbError('InternalError', 500, 'Internal error occurred: the log of the control process says more', {
    cause: error,
  });
}
