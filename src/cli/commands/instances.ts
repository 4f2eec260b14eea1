import { Command } from 'commander';
import type { Context } from '../context.ts';
import { labels, paths, stateOf, type KubeList, type Pod } from '../kube.ts';
import { checkName } from '../names.ts';
import { printList } from '../output.ts';
import { age } from '../table.ts';

export function define(context: Context): Command {
  return new Command('instances')
    .argument('[service]', 'only those of this service')
    .description('List instances: ready, starting, standby (created, its app not started) and ending ones.')
    .addHelpText('after', '\nExamples:\n  $ ebb instances\n  $ ebb instances hello --output json')
    .action(async (service: string | undefined) => {
      const namespace = await context.namespace();
      using client = await context.client();
      const labelSelector = service === undefined ? undefined : `${labels.service}=${checkName(service)}`;
      const pods = await client.get<KubeList<Pod>>(paths.pods(namespace), {
        query: { labelSelector },
        signal: context.signal,
      });
      const now = context.clock.now();
      const { style } = context;
      await printList(
        context,
        pods,
        [
          { heading: 'NAME', value: (p) => p.metadata.name },
          { heading: 'SERVICE', value: (p) => p.metadata.labels?.[labels.service] },
          { heading: 'REVISION', value: (p) => p.metadata.labels?.[labels.revision] },
          {
            heading: 'STATE',
            value: stateOf,
            paint: (text, p) => (stateOf(p) === 'Ready' ? style.green(text) : style.dim(text)),
          },
          { heading: 'ADDRESS', value: (p) => p.status?.podIP },
          { heading: 'STARTED', value: (p) => age(p.status?.startTime, now) },
          { heading: 'AGE', value: (p) => age(p.metadata.creationTimestamp, now) },
        ],
        service === undefined ? `no instances in namespace ${namespace}` : `no instances of ${service}`,
      );
    });
}
