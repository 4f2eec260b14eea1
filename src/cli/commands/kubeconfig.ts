import { Command } from 'commander';
import { readFile } from 'node:fs/promises';
import { layout } from '../../platform/paths.ts';
import type { Context } from '../context.ts';
import { printData } from '../output.ts';

export function define(context: Context): Command {
  return new Command('kubeconfig')
    .description('Print the kubeconfig with which kubectl and kn reach Ebb. It holds a secret token.')
    .option('--path', 'print only where the file is')
    .addHelpText(
      'after',
      `
Examples:
  $ export KUBECONFIG=$(ebb kubeconfig --path); kubectl get ksvc
  $ ebb kubeconfig > ~/.kube/ebb`,
    )
    .action(async (options: { path?: boolean }) => {
      const { loadKubeconfig } = await import('../kubeconfig.ts');
      const file = context.globals.kubeconfig ?? layout(context.globals).kubeconfig;
      // Read first: a file that is missing or makes no sense is told as everywhere else.
      await loadKubeconfig(file);
      if (options.path) return context.out(`${file}\n`);
      const text = await readFile(file, 'utf8');
      if (context.globals.output !== 'json') return context.out(text);
      const { parse } = await import('yaml');
      await printData(context, parse(text));
    });
}
