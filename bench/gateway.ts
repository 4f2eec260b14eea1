/**
 * What a request through the gateway costs, beside the same request direct and through other proxies: one core for the proxy,
 * another one for the load and the backend, the same for all. `npm run bench:gateway [-- --json --rounds N --seconds N --case NAME]`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { silentLogger } from '../src/platform/logger.ts';
import { GatewayLink } from '../src/gateway/link.ts';
import { cpuMicros, freePort, Program, which } from './lib/processes.ts';
import { median, printReport, say, type BenchCase } from './lib/report.ts';
import { wrk, type WrkResult } from './lib/wrk.ts';

const host = 'hello.default.localhost';
const allCases = [
  { name: 'http1-64-small', connections: 64, path: '/' },
  { name: 'http1-1-small', connections: 1, path: '/' },
  { name: 'http1-64-100k', connections: 64, path: '/100k' },
];
const metrics = [
  { name: 'requests_per_second', unit: '1/s' },
  { name: 'p50_ms', unit: 'ms' },
  { name: 'p99_ms', unit: 'ms' },
  { name: 'cpu_us_per_request', unit: 'us' },
] as const;
type Metric = (typeof metrics)[number]['name'];

/** Something that requests go through; `pid` undefined where there is no proxy. */
interface Contender {
  name: string;
  port: number;
  pid: number | undefined;
}

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    case: { type: 'string' },
  },
});
const cases = allCases.filter(({ name }) => options.case === undefined || options.case === name);
const rounds = Math.max(1, Number(options.rounds) || 3);
const seconds = Math.max(1, Number(options.seconds) || 3);
const pinnable = availableParallelism() >= 2 && which('taskset') !== undefined;
const proxyCore = pinnable ? 0 : undefined;
const loadCore = pinnable ? 1 : undefined;

if (which('wrk') === undefined) {
  say('wrk is not installed: apt-get install wrk');
  process.exit(1);
}
const dir = await mkdtemp(join(tmpdir(), 'ebb-bench-gateway-'));
await using scope = new AsyncDisposableStack();
scope.defer(() => rm(dir, { recursive: true, force: true }));

const backendPort = await startBackend();
const contenders: Contender[] = [await startEbb(), { name: 'direct', port: backendPort, pid: undefined }];
const missing: string[] = [];
for (const [name, begin] of [
  ['nginx', startNginx],
  ['haproxy', startHaproxy],
  ['go', startGo],
] as const) {
  const contender = await begin();
  if (contender) contenders.push(contender);
  else missing.push(name);
}

const measured = new Map<string, number[]>();
for (const { name, connections, path } of cases) {
  for (const contender of contenders) await load(contender, connections, path, 1); // Warm: compiled code, open connections.
  for (let round = 1; round <= rounds; round++) {
    for (const contender of contenders) {
      const before = contender.pid === undefined ? 0 : cpuMicros(contender.pid);
      const result = await load(contender, connections, path, seconds);
      note(name, contender.name, 'requests_per_second', (result.requests * 1e6) / result.durationUs);
      note(name, contender.name, 'p50_ms', result.p50Us / 1000);
      note(name, contender.name, 'p99_ms', result.p99Us / 1000);
      if (contender.pid !== undefined) {
        note(name, contender.name, 'cpu_us_per_request', (cpuMicros(contender.pid) - before) / result.requests);
      }
    }
    say(`${name}: round ${round} of ${rounds}`);
  }
}

const peerNames = ['direct', 'nginx', 'haproxy', 'go'];
printReport(
  {
    bench: 'gateway',
    cases: cases.flatMap(({ name }) =>
      metrics.map((metric): BenchCase => ({
        case: name,
        metric: metric.name,
        unit: metric.unit,
        ours: result(name, 'ebb', metric.name),
        peers: Object.fromEntries(peerNames.map((peer) => [peer, result(name, peer, metric.name)])),
      })),
    ),
    missing,
    notes: [
      `Medians of ${rounds} rounds of ${seconds} s, peers in turn; ${cpus()[0]?.model ?? 'unknown CPU'}, ${availableParallelism()} cores.`,
      pinnable ? 'Proxy on core 0; load and backend on core 1.' : 'Not pinned: fewer than two cores, or no taskset.',
      'ebb writes its access log and counts every request; nginx, haproxy and go write no log.',
    ],
  },
  { json: options.json },
);

function load(contender: Contender, connections: number, path: string, forSeconds: number): Promise<WrkResult> {
  return wrk({
    url: `http://127.0.0.1:${contender.port}${path}`,
    host,
    connections,
    seconds: forSeconds,
    core: loadCore,
  });
}

function note(name: string, contender: string, metric: Metric, value: number): void {
  const key = `${name} ${contender} ${metric}`;
  measured.set(key, [...(measured.get(key) ?? []), value]);
}

function result(name: string, contender: string, metric: Metric): number | null {
  const values = measured.get(`${name} ${contender} ${metric}`);
  return values ? Number(median(values).toPrecision(6)) : null;
}

async function startBackend(): Promise<number> {
  const port = await freePort();
  const nginx = which('nginx');
  await writeFile(join(dir, '100k'), 'x'.repeat(100 * 1024));
  const config = join(dir, 'backend.conf');
  await writeFile(
    config,
    `${nginxHead('backend')} http { access_log off; keepalive_requests 1000000000; server { listen 127.0.0.1:${port} backlog=1024;
      root ${dir}; location = / { default_type text/plain; return 200 "hello world\\n"; } location /100k { } } }\n`,
  );
  const backend = scope.use(
    nginx === undefined
      ? new Program(process.execPath, [fileURLToPath(new URL('./lib/backend.ts', import.meta.url)), String(port)], {
          core: loadCore,
        })
      : new Program(nginx, ['-c', config], { core: loadCore }),
  );
  await backend.listening(port);
  return port;
}

async function startEbb(): Promise<Contender> {
  const port = await freePort();
  const socket = join(dir, 'gateway.sock');
  const main = fileURLToPath(new URL('../src/gateway/main.ts', import.meta.url));
  const args = ['--socket', socket, '--listen', `127.0.0.1:${port}`, '--access-log', join(dir, 'access.log')];
  const program = scope.use(new Program(process.execPath, [main, ...args], { core: proxyCore }));
  await program.listening(port);
  const revision = 'default/hello-00001';
  const link = scope.use(
    new GatewayLink({
      path: socket,
      logger: silentLogger,
      snapshot: () => ({
        routes: [{ host, namespace: 'default', route: 'hello', targets: [{ revision, percent: 100 }] }],
        revisions: [
          {
            id: revision,
            service: 'hello',
            configuration: 'hello',
            protocol: 'http1',
            containerConcurrency: 0,
            timeoutMs: 300_000,
            responseStartTimeoutMs: 0,
            idleTimeoutMs: 0,
          },
        ],
        instances: [{ id: 'i1', revision, host: '127.0.0.1', port: backendPort, state: 'ready' }],
      }),
    }),
  );
  await new Promise<void>((resolve) => link.once('connected', () => resolve()));
  // Answered after the table was read.
  await link.drain('unknown');
  return { name: 'ebb', port, pid: program.pid };
}

async function startNginx(): Promise<Contender | undefined> {
  const nginx = which('nginx');
  if (nginx === undefined) return undefined;
  const port = await freePort();
  const config = join(dir, 'nginx.conf');
  await writeFile(
    config,
    `${nginxHead('nginx')} http { access_log off; keepalive_requests 1000000000; proxy_temp_path ${dir}/proxy;
      upstream up { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 1000000000; }
      server { listen 127.0.0.1:${port} backlog=1024; location / { proxy_pass http://up; proxy_http_version 1.1;
        proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } } }\n`,
  );
  const program = scope.use(new Program(nginx, ['-c', config], { core: proxyCore }));
  await program.listening(port);
  return { name: 'nginx', port, pid: program.pid };
}

function nginxHead(name: string): string {
  return `daemon off; master_process off; pid ${dir}/${name}.pid; error_log /dev/null; events { worker_connections 4096; }`;
}

async function startHaproxy(): Promise<Contender | undefined> {
  const haproxy = which('haproxy');
  if (haproxy === undefined) return undefined;
  const port = await freePort();
  const config = join(dir, 'haproxy.cfg');
  await writeFile(
    config,
    `global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n` +
      `  option forwardfor\n  http-reuse always\nlisten proxy\n  bind 127.0.0.1:${port}\n  server one 127.0.0.1:${backendPort}\n`,
  );
  const program = scope.use(new Program(haproxy, ['-f', config, '-db'], { core: proxyCore }));
  await program.listening(port);
  return { name: 'haproxy', port, pid: program.pid };
}

async function startGo(): Promise<Contender | undefined> {
  const go = which('go');
  if (go === undefined) return undefined;
  const source = fileURLToPath(new URL('./peers/go-reverseproxy/main.go', import.meta.url));
  const binary = join(dir, 'go-reverseproxy');
  say('building the Go proxy');
  const built = spawnSync(go, ['build', '-o', binary, source], {
    encoding: 'utf8',
    env: { HOME: dir, ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '', GO111MODULE: 'off' },
  });
  if (built.status !== 0) {
    say(`the Go proxy does not build: ${built.stderr}`);
    return undefined;
  }
  const port = await freePort();
  const program = scope.use(
    new Program(binary, [`127.0.0.1:${port}`, `http://127.0.0.1:${backendPort}`], {
      core: proxyCore,
      env: { GOMAXPROCS: '1' },
    }),
  );
  await program.listening(port);
  return { name: 'go', port, pid: program.pid };
}
