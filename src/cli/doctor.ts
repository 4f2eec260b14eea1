import { machineChecks } from '../doctor/checks.ts';
import { fail, ok, runChecks, type Finding, type Verdict } from '../doctor/check.ts';
import { EbbError } from '../platform/errors.ts';
import { controlOptions } from '../platform/options.ts';
import { systemSpawner } from '../platform/spawn.ts';
import type { Context } from './context.ts';
import { controlProgram, runningControl } from './control-process.ts';
import { printData } from './output.ts';
import { printable } from './style.ts';

/** `ebb doctor`: the checks as a list with fixes. Throws when one fails, after all have been shown. */
export async function doctor(context: Context, raw: { gatewayListen?: string; apiListen?: string }): Promise<void> {
  const { dataDir, runDir } = context.globals;
  const options = controlOptions({ ...raw, dataDir, runDir });
  const running = runningControl({ dataDir, runDir });
  const isRoot = process.getuid?.() === 0;
  const checks = machineChecks({ ...options, running, spawner: systemSpawner, ...(isRoot ? { runtimeTest } : {}) });
  const findings = await runChecks(checks, context.signal);
  const failed = findings.filter((f) => f.state === 'fail');
  if (context.globals.output === 'json' || context.globals.output === 'yaml') {
    await printData(context, { ok: failed.length === 0, checks: findings });
  } else {
    context.out(findingsText(findings, context));
  }
  if (failed.length > 0) {
    throw new EbbError(
      'DoctorFailed',
      500,
      `${failed.length} of ${findings.length} checks failed: Ebb cannot run here yet`,
    );
  }
}

/** What `src/control/runtime-test.ts` exports. */
interface RuntimeTestModule {
  runtimeTest(command: string): Promise<{ name: string; version: string; problem: string | undefined }>;
}

/** A container that does nothing, from beginning to end: what a version number can't promise. */
async function runtimeTest(command: string): Promise<Verdict> {
  const control = (await import(controlProgram('runtime-test').href)) as RuntimeTestModule;
  const { name, version, problem } = await control.runtimeTest(command);
  return problem === undefined
    ? ok(`${name} ${version} makes, starts and deletes a container`)
    : fail(`${name} ${version}: ${problem}`, 'run "apt-get install -y crun runc", or choose one with --runtime');
}

/** One line a finding, its fix below it. */
export function findingsText(findings: readonly Finding[], context: Pick<Context, 'style'>): string {
  const { style } = context;
  const marks = { ok: style.green('✓'), warn: style.yellow('!'), fail: style.red('✗') };
  const width = Math.max(...findings.map((f) => f.what.length));
  return findings
    .map((f) => {
      const line = `${marks[f.state]} ${f.what.padEnd(width)}   ${printable(f.message)}\n`;
      return f.fix === undefined ? line : `${line}${' '.repeat(width + 5)}${style.cyan(printable(f.fix))}\n`;
    })
    .join('');
}
