import { Command, Option } from 'commander';
import { EbbError } from '../../platform/errors.ts';
import type { Client } from '../client.ts';
import type { Context } from '../context.ts';
import { codes } from '../exit.ts';
import { labels, paths, type Pod, type Service } from '../kube.ts';
import { checkName } from '../names.ts';
import { observe, observeOne } from '../observe.ts';
import { spanMs } from '../parse.ts';

interface DeleteOptions {
  wait: boolean;
  timeout: number;
  ignoreNotFound?: boolean;
}

export function define(context: Context): Command {
  return new Command('delete')
    .argument('<name...>', 'names of services')
    .description('Delete services with their revisions, routes and instances.')
    .option('--ignore-not-found', 'a service that is not there is fine')
    .option('--no-wait', 'do not wait until its instances are gone')
    .addOption(new Option('--timeout <time>', 'how long to wait').argParser(spanMs).default(120_000, '2m'))
    .addHelpText('after', '\nExamples:\n  $ ebb delete hello\n  $ ebb delete hello shop --no-wait')
    .action(async (names: string[], options: DeleteOptions) => {
      const namespace = await context.namespace();
      using client = await context.client();
      using progress = context.progress();
      for (const name of names.map(checkName)) {
        const found = await remove(client, namespace, name, options, context.signal);
        progress.update(`waiting for the instances of ${name} to end`);
        if (found && options.wait) await gone(client, namespace, name, options.timeout, context.signal);
        progress[Symbol.dispose]();
        if (found)
          context.out(
            context.globals.output === 'name' ? `service.serving.knative.dev/${name}\n` : `${name} deleted\n`,
          );
      }
    });
}

async function remove(
  client: Client,
  namespace: string,
  name: string,
  options: DeleteOptions,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.json('DELETE', paths.services(namespace, name), {
      query: { propagationPolicy: 'Background' },
      signal,
    });
    return true;
  } catch (error) {
    if (options.ignoreNotFound && error instanceof EbbError && error.status === 404) return false;
    throw error;
  }
}

/** Resolves when neither the Service nor an instance of it is left. */
async function gone(
  client: Client,
  namespace: string,
  name: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([signal, deadline]);
  try {
    for await (const service of observeOne<Service>(client, paths.services(namespace), name, either)) {
      if (!service) break;
    }
    const query = { labelSelector: `${labels.service}=${name}` };
    for await (const pods of observe<Pod>(client, paths.pods(namespace), query, either)) {
      if (pods.length === 0) break;
    }
  } catch (error) {
    if (!deadline.aborted || signal.aborted) throw error;
    throw new EbbError(
      codes.timeout,
      504,
      `${name} is being deleted, but not all of it was gone after ${timeoutMs / 1000} s`,
    );
  }
}
