import { Command } from 'commander';
import type { Context } from '../context.ts';

export function define(context: Context): Command {
  return new Command('doctor')
    .description(
      'Check what Ebb needs of this machine, and say how to get what is missing. Exit code 1 if something is.',
    )
    .option('--gateway-listen <host:port>', 'check this address instead of the default')
    .option('--api-listen <host:port>', 'check this address instead of the default')
    .addHelpText('after', '\nExamples:\n  $ ebb doctor\n  $ ebb doctor --output json')
    .action(async (options: { gatewayListen?: string; apiListen?: string }) => {
      const { doctor } = await import('../doctor.ts');
      return doctor(context, options);
    });
}
