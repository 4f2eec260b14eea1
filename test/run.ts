import { spawn } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runChecks } from '../src/doctor/check.ts';
import { machineChecks } from '../src/doctor/checks.ts';
import { controlOptions } from '../src/platform/options.ts';
import { systemSpawner } from '../src/platform/spawn.ts';

const usage = `Usage: npm test [-- OPTIONS]

  --unit         without the end-to-end tests, which need root and an OCI runtime
  --only NAMES   only these stages, separated by commas: lint, format, types, imports, unit, e2e
  --keep-going   go on after a stage has failed
  --e2e PATTERN  only end-to-end files whose name holds this`;

const root = join(import.meta.dirname, '..');
const bin = (name: string) => join(root, 'node_modules', '.bin', name);

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Stage {
  name: string;
  heading: string;
  run(): Promise<Counts>;
}

const options = parseOptions();
const stages: Stage[] = [
  {
    name: 'lint',
    heading: 'lint',
    run: () => check(bin('eslint'), ['.', '--cache', '--cache-location', 'node_modules/.cache/eslint/']),
  },
  { name: 'format', heading: 'format', run: () => check(bin('prettier'), ['--check', '--log-level', 'warn', '.']) },
  { name: 'types', heading: 'types', run: () => check(bin('tsc'), ['-p', '.']) },
  {
    name: 'imports',
    heading: 'import boundaries',
    run: () => check(bin('depcruise'), ['src', '--config', '.dependency-cruiser.cjs']),
  },
  {
    name: 'unit',
    heading: 'unit tests',
    run: () => nodeTests(globSync('src/**/*.test.ts', { cwd: root }), ['--test-timeout=120000', '--test-reporter=dot']),
  },
  { name: 'e2e', heading: 'end-to-end tests', run: endToEnd },
];

process.exitCode = await main();

async function main(): Promise<number> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const begin = performance.now();
  for (const stage of stages) {
    if (options.only ? !options.only.includes(stage.name) : options.unit && stage.name === 'e2e') continue;
    console.log(`\n── ${stage.heading} ${'─'.repeat(Math.max(3, 60 - stage.heading.length))}`);
    const from = performance.now();
    const counts = await stage.run();
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
    console.log(`${counts.failed === 0 ? '✓' : '✗'} ${stage.heading}: ${sentence(counts)} in ${seconds(from)}`);
    if (counts.failed > 0 && !options.keepGoing) break;
  }
  console.log(`\n${seconds(begin)} in all`);
  console.log(sentence(total));
  return total.failed === 0 ? 0 : 1;
}

/** A command that is one check: it passes or it fails. */
async function check(command: string, args: string[]): Promise<Counts> {
  const code = await inherit(command, args);
  return code === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

async function endToEnd(): Promise<Counts> {
  const missing = await whatIsMissing();
  if (missing.length > 0) {
    for (const line of missing) console.log(`✗ ${line}`);
    console.log('the end-to-end tests need this; "npm test -- --unit" runs all the others');
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const files = globSync('test/**/*.e2e.ts', { cwd: root }).filter((file) => file.includes(options.e2e));
  return nodeTests(files, ['--test-concurrency=1', '--test-timeout=600000', '--test-reporter=spec']);
}

/** The doctor's own checks, but for the default ports: tests choose theirs. */
async function whatIsMissing(): Promise<string[]> {
  const checks = machineChecks({ ...controlOptions({}), spawner: systemSpawner });
  const findings = await runChecks(
    checks.filter(({ id }) => !id.endsWith('-port')),
    new AbortController().signal,
  );
  return findings.filter((f) => f.state === 'fail').map((f) => `${f.what}: ${f.message}; ${f.fix}`);
}

/** Runs test files with node:test, shown by the reporter among `args`, counted from a second report. */
async function nodeTests(files: string[], args: string[]): Promise<Counts> {
  if (files.length === 0) return { passed: 0, failed: 0, skipped: 0 };
  const folder = mkdtempSync(join(tmpdir(), 'ebb-test-report-'));
  const report = join(folder, 'report.tap');
  try {
    const code = await inherit(process.execPath, [
      '--disable-warning=ExperimentalWarning',
      '--test',
      ...args,
      '--test-reporter-destination=stdout',
      '--test-reporter=tap',
      `--test-reporter-destination=${report}`,
      ...files.sort(),
    ]);
    return countsOf(readFileSync(report, 'utf8'), code);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The totals at the end of a TAP report of node:test. A runner that failed without a failed test counts as one. */
function countsOf(tap: string, code: number): Counts {
  const total = (name: string) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(tap)?.[1] ?? 0);
  const failed = total('fail') + total('cancelled');
  return {
    passed: total('pass'),
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: total('skipped') + total('todo'),
  };
}

function inherit(command: string, args: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    // Ctrl-C goes to the whole process group: wait until the stage has put away what it made.
    const wait = () => void (options.keepGoing = false);
    process.on('SIGINT', wait);
    child.on('error', reject);
    child.on('exit', (code) => {
      process.off('SIGINT', wait);
      resolve(code ?? 1);
    });
  });
}

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        unit: { type: 'boolean', default: false },
        only: { type: 'string' },
        'keep-going': { type: 'boolean', default: false },
        e2e: { type: 'string', default: '' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    return { unit: values.unit, only: values.only?.split(','), keepGoing: values['keep-going'], e2e: values.e2e };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exit(2);
  }
}

function sentence(counts: Counts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}

function seconds(from: number): string {
  return `${((performance.now() - from) / 1000).toFixed(1)} s`;
}
