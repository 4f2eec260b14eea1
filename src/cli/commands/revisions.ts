import { Command } from 'commander';
import type { Context } from '../context.ts';
import { conditionOf, labels, paths, type KubeList, type Revision, type Service } from '../kube.ts';
import { checkName } from '../names.ts';
import { printList } from '../output.ts';
import { age } from '../table.ts';

export function define(context: Context): Command {
  return new Command('revisions')
    .argument('[service]', 'only those of this service')
    .description('List revisions and the share of traffic that each gets.')
    .addHelpText('after', '\nExamples:\n  $ ebb revisions\n  $ ebb revisions hello --output yaml')
    .action(async (service: string | undefined) => {
      const namespace = await context.namespace();
      using client = await context.client();
      const { signal } = context;
      const labelSelector = service === undefined ? undefined : `${labels.service}=${checkName(service)}`;
      const [revisions, services] = await Promise.all([
        client.get<KubeList<Revision>>(paths.revisions(namespace), { query: { labelSelector }, signal }),
        context.globals.output === 'table'
          ? client.get<KubeList<Service>>(paths.services(namespace), { signal })
          : undefined,
      ]);
      revisions.items.sort(newestFirst);
      const traffic = trafficByRevision(services?.items ?? []);
      const now = context.clock.now();
      await printList(
        context,
        revisions,
        [
          { heading: 'NAME', value: (r) => r.metadata.name },
          { heading: 'SERVICE', value: (r) => r.metadata.labels?.[labels.service] },
          { heading: 'TRAFFIC', value: (r) => traffic.get(r.metadata.name) },
          { heading: 'INSTANCES', value: (r) => r.status?.actualReplicas },
          { heading: 'AGE', value: (r) => age(r.metadata.creationTimestamp, now) },
          { heading: 'READY', value: (r) => conditionOf(r)?.status ?? 'Unknown' },
          { heading: 'REASON', value: (r) => conditionOf(r)?.reason ?? '' },
        ],
        service === undefined ? `no revisions in namespace ${namespace}` : `no revisions of ${service}`,
      );
    });
}

/** `100%`, and `20% #canary` for what a tag leads to. */
function trafficByRevision(services: readonly Service[]): Map<string, string> {
  const parts = new Map<string, string[]>();
  for (const target of services.flatMap((s) => s.status?.traffic ?? [])) {
    const text = [target.percent ? `${target.percent}%` : '', target.tag ? `#${target.tag}` : '']
      .filter(Boolean)
      .join(' ');
    if (target.revisionName && text) parts.set(target.revisionName, [...(parts.get(target.revisionName) ?? []), text]);
  }
  return new Map([...parts].map(([name, texts]) => [name, texts.join(' ')]));
}

function newestFirst(a: Revision, b: Revision): number {
  const service = (r: Revision) => r.metadata.labels?.[labels.service] ?? '';
  const generation = (r: Revision) => Number(r.metadata.labels?.[labels.configurationGeneration] ?? 0);
  return service(a).localeCompare(service(b)) || generation(b) - generation(a);
}
