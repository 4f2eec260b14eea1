/**
 * Knative's conformance suite against Ebb: `npm run test:conformance [-- --only PATTERN --parallel N --keep-logs DIR]`.
 * Prints one row a test; exits with 1 when a result is not what `expectations.json` says.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { enterNetwork, isInside } from './namespace.ts';
import { printTable, surprises, type Expectations } from './report.ts';
import { runSuite } from './suite.ts';
import { compile, findGo } from './toolchain.ts';

const usage = `Usage: npm run test:conformance [-- OPTIONS]

  --only PATTERN     only tests whose name matches this regular expression
  --parallel N       tests at the same time (3)
  --limit SECONDS    longest that one test may take (180)
  --keep-logs DIR    what each test printed, and Ebb's own log`;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '.' },
    parallel: { type: 'string', default: '3' },
    limit: { type: 'string', default: '180' },
    'keep-logs': { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

process.exitCode = await main();

async function main(): Promise<number> {
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const go = await findGo();
  const missing = go === undefined ? 'the Go toolchain is not installed' : process.getuid?.() === 0 ? '' : 'needs root';
  if (go === undefined || missing) {
    console.log(`skipped: ${missing}`);
    return 0;
  }
  if (!isInside()) {
    const begin = performance.now();
    await compile(go);
    console.log(`suite and images compiled in ${seconds(performance.now() - begin)}`);
    // Compiling needs the outside world; from here on nothing does.
    return enterNetwork(process.argv.slice(1));
  }

  const expectations = JSON.parse(readFileSync(join(import.meta.dirname, 'expectations.json'), 'utf8')) as Expectations;
  const begin = performance.now();
  const logs = values['keep-logs'];
  if (logs !== undefined) mkdirSync(logs, { recursive: true });
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort());
  const results = await runSuite({
    built: await compile(go),
    go,
    only: new RegExp(values.only),
    parallel: count('parallel', values.parallel),
    limitSeconds: count('limit', values.limit),
    signal: stop.signal,
    onResult: ({ name, outcome, ms }) => console.log(`${outcome.padEnd(4)} ${name} (${seconds(ms)})`),
    onOutput: (name, text) => void (logs && writeFileSync(join(logs, `${name}.log`), text)),
  });
  if (stop.signal.aborted) return 130;
  printTable(results, expectations);
  console.log(`${seconds(performance.now() - begin)} in all`);
  const wrong = surprises(results, expectations, values.only === '.');
  for (const line of wrong) console.log(`✗ ${line}`);
  return wrong.length === 0 ? 0 : 1;
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} is "${text}", want a whole number above 0`);
  return value;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
