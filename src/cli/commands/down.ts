import { Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { spanMs } from '../parse.ts';

export function define(context: Context): Command {
  return new Command('down')
    .description(
      'Stop Ebb, its gateway and all instances. Services and images stay; the next "ebb up" serves them again.',
    )
    .addOption(
      new Option('--timeout <time>', 'how long requests in flight may take').argParser(spanMs).default(60_000, '1m'),
    )
    .addHelpText('after', '\nExample:\n  $ ebb down')
    .action(async (options: { timeout: number }) => {
      const { down } = await import('../down.ts');
      return down(context, options);
    });
}
