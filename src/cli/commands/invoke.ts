import { Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { headerPair, spanMs } from '../parse.ts';

export interface InvokeOptions {
  request?: string;
  data?: string;
  header?: [string, string][];
  include?: boolean;
  timing?: boolean;
  timeout: number;
}

export function define(context: Context): Command {
  return new Command('invoke')
    .argument('<name>', 'name of the service')
    .argument('[path]', 'path and query', '/')
    .description(
      'Send a request to a service through the gateway and print the answer. Fails on a status of 400 and above.',
    )
    .option('-X, --request <method>', 'method (default: GET, with data POST)')
    .option('-d, --data <text>', 'body; @FILE reads it from a file, @- from standard input')
    .addOption(new Option('-H, --header <name: value>', 'a header (repeatable)').argParser(headerPair))
    .option('-i, --include', 'print status and headers too')
    .option('--timing', 'say how long it took, and whether an instance had to be started')
    .addOption(
      new Option('--timeout <time>', 'how long to wait for the answer').argParser(spanMs).default(300_000, '5m'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ ebb invoke hello
  $ ebb invoke hello /greet -d '{"name":"Ann"}' -H 'Content-Type: application/json' --timing`,
    )
    .action(async (name: string, path: string, options: InvokeOptions) => {
      const { invoke } = await import('../invoke.ts');
      return invoke(context, name, path, options);
    });
}
