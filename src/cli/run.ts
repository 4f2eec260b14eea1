import { CommanderError } from 'commander';
import { EbbError, messageOf } from '../platform/errors.ts';
import type { Surroundings } from './context.ts';
import { codes, exitCodeOf, exitCodes } from './exit.ts';
import { createProgram } from './program.ts';
import { printable, styleFor } from './style.ts';

/**
 * Runs one call of `ebb` to its exit code. Never throws: what goes wrong is one sentence on standard error
 * (with EBB_DEBUG set, the whole chain of causes).
 */
export async function run(argv: readonly string[], world: Surroundings): Promise<number> {
  try {
    const program = await createProgram(argv, world);
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    report(error, world);
    return exitCodeOf(error);
  }
}

function report(error: unknown, world: Surroundings): void {
  const style = styleFor(world.stderr, world.env);
  const known = error instanceof EbbError;
  // Commands that were interrupted have said what goes on; an empty message means that all has been said.
  if (!(known && (error.code === codes.interrupted || error.message === ''))) {
    const message = known ? error.message : `something went wrong inside ebb: ${messageOf(error)}`;
    world.stderr.write(`${style.red('ebb:')} ${printable(message)}\n`);
  }
  if (world.env['EBB_DEBUG']) world.stderr.write(`${String((error as Error).stack)}\n`);
}
