import { Command } from 'commander';
import type { Context } from '../context.ts';
import {
  conditionOf,
  labels,
  paths,
  stateOf,
  type KubeEvent,
  type KubeList,
  type Pod,
  type Revision,
  type Service,
} from '../kube.ts';
import { checkName } from '../names.ts';
import { printObject } from '../output.ts';
import { printable } from '../style.ts';
import { age, table } from '../table.ts';

const maxEvents = 10;

export function define(context: Context): Command {
  return new Command('describe')
    .argument('<name>', 'name of the service')
    .description('Show all about a service: URL, settings, conditions, traffic, instances and what happened last.')
    .addHelpText('after', '\nExamples:\n  $ ebb describe hello\n  $ ebb describe hello --output yaml')
    .action(async (name: string) => {
      const namespace = await context.namespace();
      using client = await context.client();
      const { signal } = context;
      const service = await client.get<Service>(paths.services(namespace, checkName(name)), { signal });
      await printObject(context, service, async () => {
        const query = { labelSelector: `${labels.service}=${name}` };
        const [revisions, pods, events] = await Promise.all([
          client.get<KubeList<Revision>>(paths.revisions(namespace), { query, signal }),
          client.get<KubeList<Pod>>(paths.pods(namespace), { query, signal }),
          // An API without events can still be described.
          client.find<KubeList<KubeEvent>>(paths.events(namespace), { signal }),
        ]);
        const names = new Set([name, ...revisions.items.map((r) => r.metadata.name)]);
        const ours = (events?.items ?? []).filter((e) => names.has(e.involvedObject?.name ?? ''));
        show(context, service, pods.items, ours);
      });
    });
}

function show(context: Context, service: Service, pods: readonly Pod[], events: readonly KubeEvent[]): void {
  const { style } = context;
  const now = context.clock.now();
  const ready = conditionOf(service);
  const mark =
    ready?.status === 'True'
      ? style.green('ready')
      : ready?.status === 'False'
        ? style.red('not ready')
        : style.yellow('not yet ready');
  const section = (title: string) => context.out(`\n${style.bold(title)}\n`);

  context.out(`${style.bold(service.metadata.name)} in ${service.metadata.namespace ?? 'default'}: ${mark}\n`);
  if (ready?.status !== 'True' && ready?.message) context.out(`${printable(ready.message)}\n`);
  context.out(`\n${pairs(settingsOf(service, now))}`);

  section('Conditions');
  context.out(
    table(
      [
        { heading: 'TYPE', value: (c) => c.type },
        { heading: 'STATUS', value: (c) => c.status },
        { heading: 'REASON', value: (c) => c.reason },
        { heading: 'MESSAGE', value: (c) => c.message },
      ],
      service.status?.conditions ?? [],
    ),
  );

  section('Traffic');
  context.out(
    table(
      [
        { heading: 'REVISION', value: (t) => t.revisionName },
        { heading: 'PERCENT', value: (t) => `${t.percent ?? 0}%` },
        { heading: 'TAG', value: (t) => t.tag },
        { heading: 'URL', value: (t) => t.url },
      ],
      service.status?.traffic ?? [],
    ),
  );

  section('Instances');
  if (pods.length === 0) context.out('none\n');
  else {
    context.out(
      table(
        [
          { heading: 'NAME', value: (p) => p.metadata.name },
          { heading: 'STATE', value: stateOf },
          { heading: 'AGE', value: (p) => age(p.metadata.creationTimestamp, now) },
        ],
        pods,
      ),
    );
  }

  if (events.length === 0) return;
  section('Events');
  const when = (e: KubeEvent) => e.lastTimestamp ?? e.eventTime ?? e.metadata.creationTimestamp;
  context.out(
    table(
      [
        { heading: 'AGE', value: (e) => age(when(e), now) },
        {
          heading: 'OBJECT',
          value: (e) => `${(e.involvedObject?.kind ?? '').toLowerCase()}/${e.involvedObject?.name}`,
        },
        { heading: 'REASON', value: (e) => e.reason },
        { heading: 'MESSAGE', value: (e) => e.message },
      ],
      [...events].sort((a, b) => (when(a) ?? '').localeCompare(when(b) ?? '')).slice(-maxEvents),
    ),
  );
}

function settingsOf(service: Service, now: number): [string, string | undefined][] {
  const template = service.spec?.template;
  const containers = template?.spec?.containers ?? [];
  const container = containers.find((c) => c.ports?.length) ?? containers[0];
  const annotations = template?.metadata?.annotations ?? {};
  const scaling = (key: string) => annotations[`autoscaling.knative.dev/${key}`];
  const port = container?.ports?.[0];
  const limits = Object.entries(container?.resources?.limits ?? {}).map(([what, value]) => `${what} ${value}`);
  return [
    ['URL', service.status?.url],
    ['Image', container?.image],
    ['Revision', service.status?.latestReadyRevisionName],
    [
      'Port',
      port?.containerPort === undefined ? undefined : `${port.containerPort}${port.name ? ` (${port.name})` : ''}`,
    ],
    ['Command', [...(container?.command ?? []), ...(container?.args ?? [])].join(' ')],
    // Values may be secrets on someone's screen: the names tell enough, `--output yaml` has the rest.
    ['Variables', container?.env?.map((e) => e.name).join(', ')],
    ['Limits', limits.join(', ')],
    ['Concurrency', template?.spec?.containerConcurrency ? String(template.spec.containerConcurrency) : undefined],
    ['Scale', scaleText(scaling('min-scale') ?? scaling('minScale'), scaling('max-scale') ?? scaling('maxScale'))],
    ['To zero after', annotations['ebb.dev/scale-to-zero-after']],
    ['Age', age(service.metadata.creationTimestamp, now)],
  ];
}

function scaleText(min: string | undefined, max: string | undefined): string | undefined {
  if (min === undefined && max === undefined) return undefined;
  return `${min ?? 0} to ${max && max !== '0' ? max : 'any number'}`;
}

function pairs(rows: readonly [string, string | undefined][]): string {
  const shown = rows.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}   ${printable(value ?? '')}\n`).join('');
}
