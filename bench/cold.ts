import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median, percentile, printReport, say, type BenchCase } from './lib/report.ts';
import { freePort, request, root, run, startEbb, type TestEbb } from '../test/support/ebb.ts';
import { bundleOf, type Bundle } from './lib/bundle.ts';

/**
 * Request to first byte for a service at zero, beside the app's bare process, `runc run` of the same image and, where there is
 * an engine, `docker start`. Each round deploys nothing: every service waits at zero with a standby, and is called once.
 */
const services = 12;
const rounds = 3;

const work = mkdtempSync(join(tmpdir(), 'ebb-bench-cold-'));
const figures: BenchCase[] = [];
try {
  const staticApp = join(work, 'static-hello');
  mkdirSync(staticApp);
  await must('gcc', ['-O2', '-static', '-o', join(staticApp, 'start'), join(root, 'bench/apps/static-hello/hello.c')]);
  const nodeApp = join(work, 'node-hello');
  cpSync(join(root, 'examples/hello'), nodeApp, { recursive: true });

  await using ebb = await startEbb();
  await measure(ebb, 'node-created', nodeApp, [process.execPath, join(nodeApp, 'server.js')]);
  await measure(ebb, 'static-created', staticApp, [join(staticApp, 'start')]);
} finally {
  rmSync(work, { recursive: true, force: true });
}
printReport(
  {
    bench: 'cold',
    cases: figures,
    missing: ['docker-start'],
    notes: [
      `${services * rounds} cold starts each, interleaved; ms from sending the request (or spawning) to the first byte.`,
      'docker-start needs a Docker engine, and this bench starts none.',
    ],
  },
  { json: process.argv.includes('--json') },
);

async function measure(ebb: TestEbb, name: string, app: string, command: string[]): Promise<void> {
  say(`${name}: deploying ${services} services`);
  const names = Array.from({ length: services }, (_, i) => `${name}-${i}`);
  for (const service of names) await ebb.ok('deploy', app, '--name', service, '--scale-to-zero-after', '3s');
  await using bundle = await bundleOf(ebb, names[0] ?? '', work);

  const samples = { ours: [] as number[], bare: [] as number[], 'runc-run': [] as number[] };
  for (let round = 0; round < rounds; round++) {
    await ebb.until('all at zero with a standby', async () => (await atZero(ebb, names)) === names.length, 120_000);
    say(`${name}: round ${round + 1} of ${rounds}`);
    // Interleaved, so that a noisy moment of the machine hits all alike.
    for (const service of names) {
      const answer = await request(ebb.gatewayPort, `${service}.default.localhost`, '/');
      if (answer.status !== 200 || !String(answer.headers['server-timing']).includes('cold')) {
        throw new Error(`${service} was not cold: ${answer.status} ${String(answer.headers['server-timing'])}`);
      }
      samples.ours.push(answer.ms);
      samples.bare.push(await bareStart(command));
      samples['runc-run'].push(await runcStart(bundle));
    }
  }
  for (const service of names) await ebb.ok('delete', service);
  for (const [metric, of] of [
    ['median_ms', median],
    ['p99_ms', (v: number[]) => percentile(v, 0.99)],
  ] as const) {
    figures.push({
      case: name,
      metric,
      unit: 'ms',
      ours: of(samples.ours),
      // No Docker engine is started by this bench: it would need one of its own.
      peers: { bare: of(samples.bare), 'runc-run': of(samples['runc-run']), 'docker-start': null },
    });
  }
}

async function atZero(ebb: TestEbb, names: string[]): Promise<number> {
  const pods = await ebb.json<{ items: { metadata: { labels: Record<string, string> }; status: { phase: string } }[] }>(
    'instances',
  );
  const ofName = (name: string) => pods.items.filter((p) => p.metadata.labels['serving.knative.dev/service'] === name);
  return names.filter((name) => ofName(name).length === 1 && ofName(name)[0]?.status.phase === 'Pending').length;
}

/** From spawn to the first byte of the first response. */
async function bareStart(command: string[]): Promise<number> {
  const port = await freePort();
  const begin = performance.now();
  const child = spawn(command[0] ?? '', command.slice(1), {
    env: { PATH: process.env['PATH'], PORT: String(port) },
    stdio: 'ignore',
  });
  const ms = await firstByte(port, begin);
  await ended(child);
  return ms;
}

async function runcStart(bundle: Bundle): Promise<number> {
  const port = await freePort();
  bundle.setPort(port);
  const id = `bench-${process.pid}-${port}`;
  const begin = performance.now();
  const child = spawn('runc', ['run', '--bundle', bundle.dir, id], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  const ms = await firstByte(port, begin);
  await run('runc', ['kill', id, 'KILL']);
  await exited;
  return ms;
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** Tries to connect every millisecond, as close to the start as a client can come. */
async function firstByte(port: number, begin: number): Promise<number> {
  while (performance.now() - begin < 10_000) {
    const ms = await new Promise<number | undefined>((resolve) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      );
      socket.once('data', () => (resolve(performance.now() - begin), socket.destroy()));
      socket.once('error', () => resolve(undefined));
    });
    if (ms !== undefined) return ms;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`nothing answered on port ${port} within 10 s`);
}

async function must(command: string, args: string[]): Promise<void> {
  const result = await run(command, args);
  if (result.code !== 0) throw new Error(`${command}: ${result.stderr}`);
}
