import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeKubeconfig } from '../../src/apiserver/kubeconfig.ts';
import { ensurePki } from '../../src/apiserver/pki.ts';
import { startApiServer, type ApiServer, type PodView } from '../../src/apiserver/server.ts';
import { bearerToken, ensureToken } from '../../src/apiserver/token.ts';
import { anyOf, serviceAccountTokens } from '../../src/apiserver/tokens/authenticate.ts';
import { openTokenIssuer } from '../../src/apiserver/tokens/issuer.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { silentLogger } from '../../src/platform/logger.ts';
import { kinds } from '../../src/resources/api.ts';
import { openSqliteStore } from '../../src/store/sqlite/store.ts';
import type { ResourceStore } from '../../src/store/store.ts';

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** An API server of a test's own, with nothing behind it, and kubectl that knows it. */
export interface KubectlApi extends AsyncDisposable {
  dir: string;
  store: ResourceStore;
  api: ApiServer;
  /** What kubectl needs to find it. */
  flags: string[];
  kubeconfig: string;
  kubectl(...args: string[]): Promise<Result>;
  /** `kubectl apply -f -`. */
  apply(text: string, ...args: string[]): Promise<Result>;
}

export async function startKubectlApi(pods?: PodView): Promise<KubectlApi> {
  const dir = await mkdtemp(join(tmpdir(), 'ebb-kubectl-'));
  const store = await openSqliteStore({ file: join(dir, 'state.db'), clock: systemClock });
  const pki = await ensurePki({ dir: join(dir, 'pki'), clock: systemClock });
  const token = await ensureToken(join(dir, 'pki'));
  const tokens = await openTokenIssuer({ dir: join(dir, 'pki'), clock: systemClock });
  const api = await startApiServer({
    store,
    kinds,
    listen: { host: '127.0.0.1', port: 0 },
    tls: pki,
    authenticate: anyOf(bearerToken(token), serviceAccountTokens(tokens, store)),
    tokens,
    views: pods ? { pods } : {},
    clock: systemClock,
    logger: silentLogger,
  });
  const kubeconfig = join(dir, 'kubeconfig');
  await writeKubeconfig(kubeconfig, { server: api.url, ca: pki.ca, token });
  const flags = [`--kubeconfig=${kubeconfig}`, `--cache-dir=${dir}/cache`];
  return {
    dir,
    store,
    api,
    flags,
    kubeconfig,
    kubectl: (...args) => run('kubectl', [...flags, ...args]),
    apply: (text, ...args) => run('kubectl', [...flags, 'apply', '-f', '-', ...args], text),
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(dir, { recursive: true });
    },
  };
}

export function run(command: string, args: string[], input = ''): Promise<Result> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

/** What a command printed; fails with what it complained of. */
export async function ok(result: Promise<Result>): Promise<string> {
  const { code, stdout, stderr } = await result;
  assert.equal(code, 0, stderr);
  return stdout;
}
