import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineId } from '../../src/control/engine-id.ts';
import { leftovers } from './leftovers.ts';

export const root = new URL('../..', import.meta.url).pathname;

export interface CliResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
  ms: number;
}

/** A whole Ebb of a test's own: real processes, own directories and ports. Disposing stops it and fails on leftovers. */
export interface TestEbb extends AsyncDisposable {
  dataDir: string;
  runDir: string;
  id: string;
  gatewayPort: number;
  apiPort: number;
  cli(...args: string[]): Promise<CliResult>;
  /** The same; throws with what was printed when the command fails. */
  ok(...args: string[]): Promise<string>;
  /** `ok` with `--output json`, parsed. */
  json<T = Record<string, unknown>>(...args: string[]): Promise<T>;
  request(host: string, path?: string, options?: http.RequestOptions & { body?: string }): Promise<Answer>;
  /** Starts it (again). */
  up(...extra: string[]): Promise<CliResult>;
  controlPid(): number;
  gatewayPid(): Promise<number>;
  /** Resolves when `test` holds of the service's instances; they are watched, not polled blindly, for `timeoutMs`. */
  until<T>(what: string, test: () => Promise<T | undefined | false>, timeoutMs?: number): Promise<T>;
  instances(service: string): Promise<{ name: string; state: string; ready: boolean }[]>;
}

export async function startEbb(...extra: string[]): Promise<TestEbb> {
  const base = mkdtempSync(join(tmpdir(), 'ebb-test-'));
  const dataDir = join(base, 'data');
  const runDir = join(base, 'run');
  const [gatewayPort, apiPort] = [await freePort(), await freePort()];
  const id = engineId(dataDir);

  const cli = (...args: string[]) =>
    run(join(root, 'bin/ebb'), [...args, '--data-dir', dataDir, '--run-dir', runDir], { NO_COLOR: '1' });
  const ok = async (...args: string[]) => {
    const result = await cli(...args);
    if (result.code !== 0)
      throw new Error(`ebb ${args.join(' ')}: exit ${result.code}\n${result.stdout}${result.stderr}`);
    return result.stdout;
  };

  const ebb: TestEbb = {
    dataDir,
    runDir,
    id,
    gatewayPort,
    apiPort,
    cli,
    ok,
    json: async (...args) => JSON.parse(await ok(...args, '--output', 'json')),
    request: (host, path = '/', options = {}) => request(gatewayPort, host, path, options),
    up: (...more) =>
      cli(
        'up',
        '--detach',
        '--gateway-listen',
        `127.0.0.1:${gatewayPort}`,
        '--api-listen',
        `127.0.0.1:${apiPort}`,
        ...extra,
        ...more,
      ),
    controlPid: () => JSON.parse(readFileSync(join(runDir, 'control.json'), 'utf8')).pid as number,
    gatewayPid: async () => (await ebb.json<{ gateway: { pid: number } }>('status')).gateway.pid,
    async until(what, test, timeoutMs = 30_000) {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const result = await test();
        if (result) return result;
        if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async instances(service) {
      const pods = await ebb.json<{ items: PodShape[] }>('instances', service);
      return pods.items.map((p) => ({
        name: p.metadata.name,
        state: p.status.containerStatuses[0]?.state.waiting?.reason ?? p.status.phase,
        ready: p.status.containerStatuses[0]?.ready ?? false,
      }));
    },
    async [Symbol.asyncDispose]() {
      const down = await cli('down');
      const left = leftovers(ebb);
      if (process.env['EBB_TEST_KEEP']) console.error(`kept: ${base}`);
      else rmSync(base, { recursive: true, force: true });
      if (down.code !== 0 || left.length > 0) {
        throw new Error(`ebb down: exit ${down.code}\n${down.stdout}${down.stderr}\nleft behind:\n${left.join('\n')}`);
      }
    },
  };

  const started = await ebb.up();
  if (started.code !== 0) {
    const log = readOr(join(dataDir, 'logs/control.log'));
    await cli('down');
    rmSync(base, { recursive: true, force: true });
    throw new Error(`ebb up: exit ${started.code}\n${started.stdout}${started.stderr}\n${log.slice(-4000)}`);
  }
  return ebb;
}

interface PodShape {
  metadata: { name: string };
  status: { phase: string; containerStatuses: { ready: boolean; state: { waiting?: { reason: string } } }[] };
}

export async function run(command: string, args: string[], env: Record<string, string> = {}): Promise<CliResult> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env }, cwd: root });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (s: string) => (stdout += s));
  child.stderr.setEncoding('utf8').on('data', (s: string) => (stderr += s));
  // A command that is not there fails like one that a shell does not find.
  child.once('error', (error) => (stderr += error.message));
  const code = await new Promise<number>((resolve) => child.once('close', (c) => resolve(c ?? 128)));
  return { code: code < 0 ? 127 : code, stdout, stderr };
}

/** One request through the gateway on a connection of its own. */
export function request(
  port: number,
  host: string,
  path: string,
  options: http.RequestOptions & { body?: string } = {},
): Promise<Answer> {
  const { body, headers, ...rest } = options;
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    const req = http.request(
      { host: '127.0.0.1', port, path, agent: false, ...rest, headers: { host, ...headers } },
      (res) => {
        let text = '';
        res.setEncoding('utf8').on('data', (s: string) => (text += s));
        res.on('end', () =>
          resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text, ms: performance.now() - begin }),
        );
        res.on('error', reject);
      },
    );
    req.on('error', reject);
    req.end(body);
  });
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function readOr(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '(no control log)';
  }
}
