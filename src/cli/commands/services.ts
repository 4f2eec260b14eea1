import { Command } from 'commander';
import type { Context } from '../context.ts';
import { conditionOf, labels, paths, stateOf, type KubeList, type Pod, type Service } from '../kube.ts';
import { printList } from '../output.ts';
import { age } from '../table.ts';

export function define(context: Context): Command {
  return new Command('services')
    .alias('ls')
    .description('List the services of a namespace.')
    .addHelpText('after', '\nExamples:\n  $ ebb services\n  $ ebb services --output name')
    .action(async () => {
      const namespace = await context.namespace();
      using client = await context.client();
      const options = { signal: context.signal };
      const human = context.globals.output === 'table';
      const [services, pods] = await Promise.all([
        client.get<KubeList<Service>>(paths.services(namespace), options),
        human ? client.get<KubeList<Pod>>(paths.pods(namespace), options) : undefined,
      ]);
      const running = countByService(pods?.items ?? []);
      const now = context.clock.now();
      await printList(
        context,
        services,
        [
          { heading: 'NAME', value: (s) => s.metadata.name },
          { heading: 'URL', value: (s) => s.status?.url },
          { heading: 'REVISION', value: (s) => s.status?.latestReadyRevisionName },
          { heading: 'INSTANCES', value: (s) => running.get(s.metadata.name) ?? 0 },
          { heading: 'AGE', value: (s) => age(s.metadata.creationTimestamp, now) },
          {
            heading: 'READY',
            value: (s) => conditionOf(s)?.status ?? 'Unknown',
            paint: (text, s) => paint(context, text, conditionOf(s)?.status),
          },
          { heading: 'REASON', value: (s) => conditionOf(s)?.reason ?? '' },
        ],
        `no services in namespace ${namespace}: deploy one with "ebb deploy DIR"`,
      );
    });
}

/** Standbys are not counted: their app does not run. */
function countByService(pods: readonly Pod[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const pod of pods) {
    const state = stateOf(pod);
    const service = pod.metadata.labels?.[labels.service];
    if (service !== undefined && (state === 'Ready' || state === 'Starting')) {
      counts.set(service, (counts.get(service) ?? 0) + 1);
    }
  }
  return counts;
}

function paint(context: Context, text: string, status: string | undefined): string {
  if (status === 'True') return context.style.green(text);
  return status === 'False' ? context.style.red(text) : context.style.yellow(text);
}
