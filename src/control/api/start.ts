import { join } from 'node:path';
import { writeKubeconfig } from '../../apiserver/kubeconfig.ts';
import { ensurePki } from '../../apiserver/pki.ts';
import { startApiServer } from '../../apiserver/server.ts';
import { bearerToken, ensureToken } from '../../apiserver/token.ts';
import { anyOf, serviceAccountTokens } from '../../apiserver/tokens/authenticate.ts';
import { openTokenIssuer } from '../../apiserver/tokens/issuer.ts';
import type { Engine, Workload, WorkloadKey } from '../../engine/engine.ts';
import type { ImageStore } from '../../images/images.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Logger } from '../../platform/logger.ts';
import { formatListen, parseListen, type ControlOptions } from '../../platform/options.ts';
import { layout } from '../../platform/paths.ts';
import type { Spawner } from '../../platform/spawn.ts';
import { kinds } from '../../resources/api.ts';
import type { ResourceStore } from '../../store/store.ts';
import { createPodView } from '../pod-view.ts';
import { version } from '../version.ts';
import { imageRoutes } from './images.ts';
import { logRoutes } from './logs.ts';
import { statusRoutes, type EbbStatus } from './status.ts';

export interface ApiParts {
  options: ControlOptions;
  store: ResourceStore;
  engine: Engine;
  images: ImageStore;
  clock: Clock;
  spawner: Spawner;
  logger: Logger;
  workload: (key: WorkloadKey) => Workload | undefined;
  gateway: () => EbbStatus['gateway'];
  /** Called when a client asks for the end. */
  shutdown: () => void;
}

/** The API server with Ebb's own endpoints beside the Kubernetes ones; writes the kubeconfig that leads to it. */
export async function startApi(parts: ApiParts): Promise<AsyncDisposable & { address: string }> {
  const { options, store, engine, clock, logger } = parts;
  const files = layout(options);
  const listen = parseListen('api-listen', options.apiListen, '127.0.0.1');
  const makePki = () => ensurePki({ dir: files.pki, hosts: [listen.host], clock });
  const pki = await makePki();
  const token = await ensureToken(files.pki);
  const tokens = await openTokenIssuer({ dir: files.pki, clock });
  let address = options.apiListen;

  const server = await startApiServer({
    store,
    kinds,
    listen,
    tls: pki,
    renewTls: makePki,
    authenticate: anyOf(bearerToken(token), serviceAccountTokens(tokens, store)),
    tokens,
    views: { pods: createPodView(engine, parts.workload) },
    extend(app) {
      imageRoutes(app, { ...parts, cacheDir: join(options.dataDir, 'builds') });
      logRoutes(app, {
        engine,
        logger,
        now: () => clock.now(),
        serviceExists: async (namespace, name) =>
          (await store.get({ group: 'serving.knative.dev', kind: 'Service', namespace, name })) !== undefined,
      });
      statusRoutes(app, {
        engine,
        store,
        shutdown: parts.shutdown,
        facts: () => ({
          version,
          api: { address },
          gateway: parts.gateway(),
          runtime: { name: engine.runtime },
          dataDir: options.dataDir,
          runDir: options.runDir,
        }),
      });
    },
    version,
    clock,
    logger,
  });
  address = formatListen(server.address);
  // Whoever runs on this machine reaches an API on all addresses by its loopback.
  const local = { ...server.address, host: listen.host === '0.0.0.0' ? '127.0.0.1' : listen.host };
  await writeKubeconfig(files.kubeconfig, { server: `https://${formatListen(local)}`, ca: pki.ca, token });
  return { address, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
