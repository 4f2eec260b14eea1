import { Command } from 'commander';
import type { Context } from '../context.ts';
import { paths } from '../kube.ts';
import { printData } from '../output.ts';
import { span } from '../table.ts';

/** The API may be busy, but never for so long. */
const timeoutMs = 10_000;

interface Status {
  version?: string;
  pid?: number;
  uptimeSeconds?: number;
  api?: { address?: string };
  gateway?: { address?: string; pid?: number; connected?: boolean };
  runtime?: { name?: string; version?: string };
  counts?: { services?: number; revisions?: number; instances?: Record<string, number> };
  dataDir?: string;
  runDir?: string;
  memoryBytes?: number;
}

export function define(context: Context): Command {
  return new Command('status')
    .description('Show whether Ebb runs, where, and how much it has to do. Exit code 4 when it does not.')
    .addHelpText('after', '\nExamples:\n  $ ebb status\n  $ ebb status --output json')
    .action(async () => {
      using client = await context.client();
      const status = await client.get<Status>(paths.status, { signal: context.signal, timeoutMs });
      if (context.globals.output === 'table') show(context, status);
      else await printData(context, status);
    });
}

function show(context: Context, status: Status): void {
  const { style } = context;
  const gateway = status.gateway;
  const state = gateway?.connected === false ? style.red('not connected') : style.green('connected');
  const instances = Object.entries(status.counts?.instances ?? {})
    .filter(([, n]) => n > 0)
    .map(([what, n]) => `${n} ${what}`);
  const rows: [string, string][] = [
    [
      'Ebb',
      `${status.version ?? ''}, up ${span((status.uptimeSeconds ?? 0) * 1000)}, pid ${status.pid ?? '-'}${megabytes(status.memoryBytes)}`,
    ],
    ['API', status.api?.address ?? '-'],
    [
      'Gateway',
      gateway?.address ? `${gateway.address}, pid ${gateway.pid ?? '-'}, ${state}` : style.red('not running'),
    ],
    ['Runtime', [status.runtime?.name, status.runtime?.version].filter(Boolean).join(' ') || '-'],
    ['Services', `${status.counts?.services ?? 0}, with ${status.counts?.revisions ?? 0} revisions`],
    ['Instances', instances.join(', ') || 'none'],
    ['Data', status.dataDir ?? '-'],
    ['Run', status.runDir ?? '-'],
  ];
  context.out(rows.map(([name, value]) => `${name.padEnd(9)}   ${value}\n`).join(''));
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '' : `, ${Math.round(bytes / 1024 ** 2)} MB`;
}
