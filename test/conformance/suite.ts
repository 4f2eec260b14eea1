import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '../../src/cli/client.ts';
import { loadKubeconfig } from '../../src/cli/kubeconfig.ts';
import { startFakeRegistry } from '../../src/images/fake-registry.ts';
import { startEbb } from '../support/ebb.ts';
import { openNetwork } from './namespace.ts';
import { outcomeOf, type Result } from './report.ts';
import type { Built } from './toolchain.ts';

const namespace = 'serving-tests';
const repository = `ebb.local/${namespace}`;
/** After a test's own limit, for it to say where it was. */
const patienceMs = 10_000;

export interface SuiteOptions {
  built: Built;
  go: string;
  /** Names of the tests to run. */
  only: RegExp;
  parallel: number;
  limitSeconds: number;
  /** Ends the run early; what it started is put away all the same. */
  signal: AbortSignal;
  onResult(result: Result): void;
  /** All that a test printed. */
  onOutput(test: string, text: string): void;
}

/** Runs the tests against an Ebb of their own, each in its own process so that one that hangs takes no other with it. */
export async function runSuite(options: SuiteOptions): Promise<Result[]> {
  using _network = await openNetwork();
  await using emptyRegistry = await startFakeRegistry();
  await using ebb = await startEbb('--gateway-listen', '0.0.0.0:80', '--domain', 'ebb.test');
  const kubeconfig = join(ebb.dataDir, 'kubeconfig');
  await setUp(kubeconfig, options.built);

  const tests: { name: string; binary: string; folder: string }[] = [];
  for (const { binary, folder } of options.built.tests) {
    const output = await execute(binary, ['-test.list', '.'], { cwd: folder, signal: options.signal });
    const all = output.split('\n').filter((line) => /^Test\w+$/.test(line));
    if (all.length === 0) throw new Error(`${binary} has no tests: ${output.slice(0, 500)}`);
    const names = all.filter((name) => options.only.test(name));
    tests.push(...names.map((name) => ({ name, binary, folder })));
  }

  const results: Result[] = [];
  const work = tests.values();
  const worker = async () => {
    for (const { name, binary, folder } of work) {
      if (options.signal.aborted) return;
      const begin = performance.now();
      const args = ['tool', 'test2json', '-t', binary, '-test.v=test2json', `-test.run=^${name}$`, ...flags(options)];
      // It skips itself for images that were never in a registry, and asks for one that must not exist.
      if (name === 'TestContainerErrorMsg') args.push(`-dockerrepo=${emptyRegistry.host}`);
      const limit = AbortSignal.timeout(options.limitSeconds * 1000 + patienceMs);
      const output = await execute(options.go, [...args, `-kubeconfig=${kubeconfig}`], {
        cwd: folder,
        signal: AbortSignal.any([options.signal, limit]),
      });
      if (options.signal.aborted) return;
      const { text, ...outcome } = outcomeOf(output, name);
      const result: Result = { name, ms: performance.now() - begin, ...outcome };
      results.push(result);
      options.onOutput(name, text);
      options.onResult(result);
    }
  };
  await Promise.all(Array.from({ length: options.parallel }, worker));
  options.onOutput('ebb', await readFile(join(ebb.dataDir, 'logs/control.log'), 'utf8'));
  return results;
}

function flags({ limitSeconds }: SuiteOptions): string[] {
  return [
    `-test.timeout=${limitSeconds}s`,
    '-test.parallel=8',
    '-disable-logstream=true',
    '-resolvabledomain=true',
    '-enable-beta=true',
    `-test-namespace=${namespace}`,
    `-dockerrepo=${repository}`,
    '-customdomain=custom.test',
  ];
}

/** What Knative's own test set-up creates (test/config of the suite), and the images. */
async function setUp(kubeconfig: string, built: Built): Promise<void> {
  using client = new Client(await loadKubeconfig(kubeconfig));
  const create = (path: string, body: object) => client.json('POST', path, { body });
  for (const name of [namespace, `${namespace}-alt`, 'tls', 'rq-test']) {
    await create('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
  await create(`/api/v1/namespaces/${namespace}/configmaps`, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'conformance-test-configmap' },
    data: { testKey: 'testValue' },
  });
  await create(`/api/v1/namespaces/${namespace}/secrets`, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'conformance-test-secret' },
    type: 'Opaque',
    data: { testKey: Buffer.from('testValue').toString('base64') },
  });
  for (const { name, archive } of built.images) {
    const lines = client.lines('POST', `/apis/ebb.dev/v1alpha1/namespaces/${namespace}/images`, {
      query: { name, format: 'oci-archive' },
      body: createReadStream(archive),
      contentType: 'application/x-tar',
    });
    for await (const line of lines) {
      const { type, message } = line as { type?: string; message?: string };
      if (type === 'error') throw new Error(`cannot import the image ${name}: ${message ?? ''}`);
    }
  }
}

/** What a command printed. Aborting ends it and its children. */
async function execute(
  command: string,
  args: string[],
  options: { cwd: string; signal: AbortSignal },
): Promise<string> {
  const { cwd, signal } = options;
  // A group of its own: the signal must reach the test under test2json too.
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const stop = () => void (child.pid && process.kill(-child.pid, 'SIGKILL'));
  signal.addEventListener('abort', stop, { once: true });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (s: string) => (output += s));
  child.stderr.setEncoding('utf8').on('data', (s: string) => (output += s));
  await once(child, 'close');
  signal.removeEventListener('abort', stop);
  return output;
}
