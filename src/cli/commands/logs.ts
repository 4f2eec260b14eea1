import { Command, Option } from 'commander';
import { EbbError } from '../../platform/errors.ts';
import type { Context } from '../context.ts';
import { paths } from '../kube.ts';
import { checkName } from '../names.ts';
import { spanMs, whole } from '../parse.ts';

interface LogsOptions {
  follow?: boolean;
  since?: number;
  tail?: number;
  timestamps?: boolean;
  prefix?: boolean;
}

interface Line {
  type?: string;
  code?: string;
  message?: string;
  instance?: string;
  time?: string;
  text?: string;
}

export function define(context: Context): Command {
  return new Command('logs')
    .argument('<name>', 'name of the service')
    .description('Show what all instances of a service printed, past ones too.')
    .option('-f, --follow', 'go on with what is printed from now on')
    .addOption(new Option('--since <time>', 'only the last 30s, 5m, 2h ...').argParser(spanMs))
    .addOption(new Option('--tail <n>', 'only the last n lines').argParser(whole(0, 999_999_999)))
    .option('--timestamps', 'with the time of each line')
    .option('--prefix', 'with the name of the instance before each line')
    .addHelpText('after', '\nExamples:\n  $ ebb logs hello --since 5m\n  $ ebb logs hello -f --prefix')
    .action(async (name: string, options: LogsOptions) => {
      const namespace = await context.namespace();
      using client = await context.client();
      const lines = client.lines('GET', paths.log(namespace, checkName(name)), {
        query: {
          follow: options.follow,
          sinceSeconds: options.since === undefined ? undefined : Math.max(1, Math.ceil(options.since / 1000)),
          tailLines: options.tail,
          timestamps: options.timestamps,
        },
        signal: context.signal,
      });
      for await (const value of lines) {
        const line = value as Line;
        if (line.type === 'error')
          throw new EbbError(line.code ?? 'LogFailed', 500, line.message ?? 'the log cannot be read');
        if (line.text === undefined) continue;
        if (context.globals.output === 'json') context.out(`${JSON.stringify(line)}\n`);
        else context.out(format(context, line, options));
      }
    });
}

/** The text goes out as the app wrote it, colours and all: this is its terminal. */
function format(context: Context, line: Line, options: LogsOptions): string {
  const before = [
    ...(options.timestamps && line.time ? [line.time] : []),
    ...(options.prefix && line.instance ? [`[${line.instance}]`] : []),
  ];
  return `${before.map((word) => `${context.style.dim(word)} `).join('')}${line.text}\n`;
}
