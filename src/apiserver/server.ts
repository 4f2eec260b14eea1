import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { EbbError, errnoOf } from '../platform/errors.ts';
import { createApp, type AppOptions } from './app.ts';
import { makePermanent } from './permanent.ts';

export type { Authenticate, User } from './app.ts';
export type { PodLogOptions, PodView } from './views.ts';

export interface TlsMaterial {
  /** PEM: the server's certificate, and the chain below its authority. */
  cert: string;
  key: string;
}

export interface ApiServerOptions extends Omit<AppOptions, 'signal' | 'version'> {
  listen: { host: string; port: number };
  tls: TlsMaterial;
  /** Asked once a day: a certificate that comes near its end is replaced without a restart. */
  renewTls?: () => Promise<TlsMaterial>;
  /** Ebb's own version, for /version. */
  version?: string;
}

export interface ApiServer extends AsyncDisposable {
  address: { host: string; port: number };
  /** `https://127.0.0.1:8470`. */
  url: string;
}

/** A request line or header block above this is refused (Node's default is the same; here for all to see). */
const maxHeaderBytes = 16 * 1024;
const dayMs = 86_400_000;

/**
 * Serves the API over TLS until disposed. Makes the namespaces that always exist.
 * Throws EbbError AddressInUse or ListenFailed.
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { listen, clock, logger, tls } = options;
  await makePermanent(options.kinds, options.store);
  const stopping = new AbortController();
  const app = createApp({ ...options, version: options.version ?? '0.0.0', signal: stopping.signal });
  const server = createServer({ cert: tls.cert, key: tls.key, minVersion: 'TLSv1.2', maxHeaderSize: maxHeaderBytes });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  // Failures are answered inside; what is left is a response whose client has gone.
  server.on('request', (incoming, outgoing) => {
    listener(incoming, outgoing).catch((error: unknown) => logger.debug({ err: error }, 'a response was cut off'));
  });
  // Scanners, and clients that don't trust the certificate: not worth more than a debug line.
  server.on('tlsClientError', (error) => logger.debug({ err: error }, 'TLS handshake failed'));
  server.on('clientError', (_error, socket) => socket.destroy());
  await listening(server, listen);
  const renewal = options.renewTls && renewDaily(server, options.renewTls, options);
  const { port } = server.address() as AddressInfo;
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;

  return {
    address: { host: listen.host, port },
    url: `https://${host}:${port}`,
    async [Symbol.asyncDispose]() {
      renewal?.[Symbol.dispose]();
      stopping.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      // Watches end by themselves; a client that does not read must not hold up the stop.
      using _force = clock.after(1000, () => server.closeAllConnections());
      await closed;
    },
  };
}

function listening(server: Server, { host, port }: ApiServerOptions['listen']): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const text = `${host}:${port}`;
      reject(
        errnoOf(cause) === 'EADDRINUSE'
          ? new EbbError(
              'AddressInUse',
              500,
              `the API server cannot listen on ${text}: the port is taken; choose another`,
              { cause },
            )
          : new EbbError('ListenFailed', 500, `the API server cannot listen on ${text}: ${cause.message}`, { cause }),
      );
    });
    server.listen(port, host, () => resolve());
  });
}

function renewDaily(
  server: Server,
  renew: () => Promise<TlsMaterial>,
  { clock, logger }: ApiServerOptions,
): Disposable {
  return clock.every(dayMs, () => {
    renew().then(
      ({ cert, key }) => server.setSecureContext({ cert, key }),
      (error: unknown) => logger.error({ err: error }, 'the TLS certificate cannot be renewed'),
    );
  });
}
