import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from '../src/cli/client.ts';
import { runningControl } from '../src/cli/control-process.ts';
import { findingsText } from '../src/cli/doctor.ts';
import { gatewayEndpoint } from '../src/cli/gateway-address.ts';
import { loadKubeconfig } from '../src/cli/kubeconfig.ts';
import { labels, paths, stateOf, type Pod } from '../src/cli/kube.ts';
import { observe } from '../src/cli/observe.ts';
import { wasCold } from '../src/cli/server-timing.ts';
import { styleFor } from '../src/cli/style.ts';
import { runChecks } from '../src/doctor/check.ts';
import { machineChecks } from '../src/doctor/checks.ts';
import { EbbError } from '../src/platform/errors.ts';
import { controlDefaults, controlOptions, type ControlOptions } from '../src/platform/options.ts';
import { defaultPaths, layout } from '../src/platform/paths.ts';
import { systemSpawner } from '../src/platform/spawn.ts';
import { call, load } from './load.ts';

const usage = `Usage: npm run quickstart [-- OPTIONS]

Starts Ebb, deploys examples/hello, and shows it scaling from zero, out, and back to zero.

  --once               stop Ebb at the end and leave nothing behind
  --gateway-port <n>   instead of 8080 (or EBB_GATEWAY_PORT)
  --api-port <n>       instead of 8470 (or EBB_API_PORT)
  --data-dir <dir>     instead of ${defaultPaths.dataDir} (or EBB_DATA_DIR)
  --run-dir <dir>      instead of ${defaultPaths.runDir} (or EBB_RUN_DIR)`;

const root = join(import.meta.dirname, '..');
const style = styleFor(process.stdout, process.env);
const service = 'hello';
const maxInstances = 5;
const connections = 40;
const loadMs = 8000;
/** Scale to zero takes 5 s here, and a busy machine some more. */
const zeroTimeoutMs = 60_000;

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupt.abort());

const { once, options } = readOptions();
process.exitCode = await main();

async function main(): Promise<number> {
  const startedHere = !runningControl(options);
  try {
    await checkMachine();
    await start();
    await deploy();
    using client = new Client(await loadKubeconfig(layout(options).kubeconfig));
    const status = await client.get<{ gateway?: { address?: string } }>(paths.status, { signal: interrupt.signal });
    const { host, port } = gatewayEndpoint(status.gateway);
    const target = { host, port, headers: { host: `${service}.default.${options.domain}` } };
    await fromZero(client, target);
    await scaleOut(client, target);
    await backToZero(client);
    if (!once) tryNext(port);
    return 0;
  } catch (error) {
    if (interrupt.signal.aborted) {
      console.log('\ninterrupted');
      if (!once && startedHere && runningControl(options))
        console.log(`Ebb goes on running: stop it with "${ebbCommand('down')}"`);
      return 130;
    }
    if (!(error instanceof EbbError)) throw error;
    if (error.message) console.error(`${style.red('quickstart:')} ${error.message}`);
    return 1;
  } finally {
    if (once) await leaveNothing();
  }
}

async function checkMachine(): Promise<void> {
  heading('This machine');
  const running = runningControl(options);
  const checks = machineChecks({ ...options, running, spawner: systemSpawner });
  const findings = await runChecks(checks, interrupt.signal);
  const failed = findings.filter((f) => f.state === 'fail');
  if (failed.length === 0) {
    const told = findings.filter((f) => f.id === 'cgroups' || f.id === 'runtime').map((f) => f.message);
    return done(`all ${findings.length} checks passed: cgroups ${told.join('; ')}`);
  }
  console.log(findingsText(failed, { style }).trimEnd());
  const ports = failed.some((f) => f.id.endsWith('-port'));
  const how = ports ? '; choose other ports with "npm run quickstart -- --gateway-port N --api-port N"' : '';
  throw new EbbError('NotReady', 500, `Ebb cannot run here yet, see above${how}`);
}

async function start(): Promise<void> {
  heading('Start Ebb');
  const running = runningControl(options);
  if (running) return done(`it is already running (pid ${running.pid})`);
  await ebb('up', '--detach', '--gateway-listen', options.gatewayListen, '--api-listen', options.apiListen);
}

async function deploy(): Promise<void> {
  heading('Deploy examples/hello from its source folder');
  // A short window, so that scaling down can be watched; the defaults are calmer.
  const settings = ['--scale-to-zero-after', '5s', '--annotation', 'autoscaling.knative.dev/window=6s'];
  const scale = ['--concurrency', '4', '--max', String(maxInstances)];
  const url = await ebb('deploy', join(root, 'examples', service), '--name', service, ...settings, ...scale);
  console.log(`  ${style.bold(url.trim())}`);
}

type Target = Parameters<typeof call>[0];

async function fromZero(client: Client, target: Target): Promise<void> {
  heading('Call it when nothing runs');
  await untilZero(client, 'no instance runs');
  const cold = await call(target, interrupt.signal);
  console.log(`  ${cold.body.trim()}`);
  const warm = await call(target, interrupt.signal);
  const kind = wasCold(cold.headers['server-timing']) ? 'cold start' : 'first call';
  done(
    `${kind}: ${cold.firstByteMs.toFixed(0)} ms to the first byte; the next call: ${warm.firstByteMs.toFixed(1)} ms`,
  );
}

async function scaleOut(client: Client, target: Target): Promise<void> {
  heading(`Load it with ${connections} connections for ${loadMs / 1000} s`);
  const begin = performance.now();
  const ended = AbortSignal.timeout(loadMs);
  const result = load(target, connections, AbortSignal.any([interrupt.signal, ended]));
  let most = 0;
  let shown = '';
  try {
    for await (const count of counts(client, AbortSignal.any([interrupt.signal, ended]))) {
      const dots = style.green('●'.repeat(count.ready)) + style.dim('○'.repeat(count.starting));
      if (dots === shown) continue;
      shown = dots;
      console.log(`  ${((performance.now() - begin) / 1000).toFixed(1).padStart(4)} s  ${dots}`);
      most = Math.max(most, count.ready);
    }
  } catch (error) {
    if (!ended.aborted || interrupt.signal.aborted) throw error;
  } finally {
    await result;
  }
  const { requests, failed } = await result;
  const perSecond = Math.round(requests / (loadMs / 1000)).toLocaleString('en');
  done(`scaled out to ${most} instances; ${perSecond} requests/s, ${failed === 0 ? 'none' : failed} failed`);
}

async function backToZero(client: Client): Promise<void> {
  heading('Back to zero');
  const begin = performance.now();
  await untilZero(client, 'no instance runs any more');
  console.log(style.dim(`  ${((performance.now() - begin) / 1000).toFixed(1)} s after the last request`));
}

async function untilZero(client: Client, what: string): Promise<void> {
  const late = AbortSignal.timeout(zeroTimeoutMs);
  let shown = '';
  try {
    for await (const count of counts(client, AbortSignal.any([interrupt.signal, late]))) {
      const running = count.ready + count.starting + count.ending;
      const text = `  ${running} running, ${count.standby} standby`;
      if (text !== shown) console.log(text);
      shown = text;
      if (running === 0) return done(what);
    }
  } catch (error) {
    if (!late.aborted || interrupt.signal.aborted) throw error;
    throw new EbbError(
      'Timeout',
      504,
      `${service} did not go to zero within ${zeroTimeoutMs / 1000} s: see "${ebbCommand('instances')}"`,
    );
  }
}

interface Count {
  ready: number;
  starting: number;
  standby: number;
  ending: number;
}

/** How many instances the service has, again after each change. */
async function* counts(client: Client, signal: AbortSignal): AsyncGenerator<Count> {
  const query = { labelSelector: `${labels.service}=${service}` };
  let last = '';
  for await (const pods of observe<Pod>(client, paths.pods('default'), query, signal)) {
    const states = pods.map(stateOf);
    const of = (name: string) => states.filter((state) => state === name).length;
    const count = { ready: of('Ready'), starting: of('Starting'), standby: of('Standby'), ending: of('Terminating') };
    const text = JSON.stringify(count);
    if (text !== last) yield count;
    last = text;
  }
}

function tryNext(port: number): void {
  const host = `${service}.default.${options.domain}`;
  console.log(`
${style.bold('Ebb goes on running. Try next:')}
  curl http://${host}:${port}/           ${style.dim('call it again')}
  ${ebbCommand('services')}                       ${style.dim('what there is')}
  ${ebbCommand('logs hello -f')}                  ${style.dim('what it prints')}
  ${ebbCommand('deploy examples/api')}            ${style.dim('a framework from npm')}
  ${ebbCommand('deploy examples/hello --env TARGET=you')}
  export KUBECONFIG=$(${ebbCommand('kubeconfig --path')}); kubectl get ksvc
  ${ebbCommand('down')}                           ${style.dim('stop it all')}`);
}

async function leaveNothing(): Promise<void> {
  heading('Stop Ebb and leave nothing behind');
  // Ctrl-C must not end this too: the directories may only go when nothing uses them.
  await run(['down', ...where()], { detached: true });
  rmSync(join(options.dataDir, '..'), { recursive: true, force: true });
  if (!existsSync(options.dataDir)) done('nothing is left');
}

/** Runs `ebb`, its progress on our standard error. Resolves with its output; throws when it fails, having said why. */
async function ebb(...args: string[]): Promise<string> {
  const { code, stdout } = await run([...args, ...where()], {});
  if (interrupt.signal.aborted) throw new EbbError('Interrupted', 499, 'interrupted');
  if (code !== 0) throw new EbbError('CommandFailed', 500, `"ebb ${args[0]}" failed (exit ${code})`);
  return stdout;
}

function run(args: string[], how: { detached?: boolean }): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, 'bin', 'ebb'), args, { stdio: ['ignore', 'pipe', 'inherit'], ...how });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, stdout }));
  });
}

function where(): string[] {
  return ['--data-dir', options.dataDir, '--run-dir', options.runDir];
}

/** The command as the user would type it here. */
function ebbCommand(rest: string): string {
  const own =
    options.dataDir === defaultPaths.dataDir ? '' : ` --data-dir ${options.dataDir} --run-dir ${options.runDir}`;
  return `npx ebb ${rest}${own}`;
}

function heading(text: string): void {
  console.log(`\n${style.bold(text)}`);
}

function done(text: string): void {
  console.log(`${style.green('✓')} ${text}`);
}

function readOptions(): { once: boolean; options: ControlOptions } {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: 'boolean', default: false },
        'gateway-port': { type: 'string' },
        'api-port': { type: 'string' },
        'data-dir': { type: 'string' },
        'run-dir': { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const { env } = process;
    const own = values.once ? mkdtempSync(join(tmpdir(), 'ebb-quickstart-')) : undefined;
    return {
      once: values.once,
      options: controlOptions({
        dataDir: own ? join(own, 'data') : (values['data-dir'] ?? env['EBB_DATA_DIR']),
        runDir: own ? join(own, 'run') : (values['run-dir'] ?? env['EBB_RUN_DIR']),
        gatewayListen: values['gateway-port'] ?? env['EBB_GATEWAY_PORT'] ?? controlDefaults.gatewayListen,
        apiListen: values['api-port'] ?? env['EBB_API_PORT'] ?? controlDefaults.apiListen,
      }),
    };
  } catch (error) {
    console.error(`quickstart: ${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}
