import { EbbError } from '../platform/errors.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { codes } from './exit.ts';
import { paths, type Service } from './kube.ts';
import { printObject } from './output.ts';
import type { Progress } from './progress.ts';
import { rolledOut } from './rollout.ts';
import { printable } from './style.ts';

const lastLogLines = 10;
/** The deploy has failed already: its logs must not keep the user waiting. */
const logTimeoutMs = 3000;

/**
 * The end of every deploy: waits until the Service is ready, and prints its URL (or the object, with `--output`).
 * When it does not get ready, says why with the last lines that the app printed.
 */
export async function finishRollout(
  context: Context,
  client: Client,
  progress: Progress,
  applied: Service,
  options: { wait: boolean; timeout: number },
): Promise<void> {
  const { name, namespace = 'default' } = applied.metadata;
  let service = applied;
  if (options.wait) {
    const begin = context.clock.monotonic();
    try {
      service = await rolledOut(client, namespace, name, {
        timeoutMs: options.timeout,
        signal: context.signal,
        onChange: (what) => progress.update(`${name}: ${what}`),
      });
      progress.done(`${name} ready in ${Math.round(context.clock.monotonic() - begin)} ms`);
    } catch (error) {
      progress[Symbol.dispose]();
      await explain(context, client, { namespace, name }, error);
      throw error;
    }
  }
  const pinned = service.spec?.traffic?.every((target) => target.latestRevision !== true) ?? false;
  if (pinned)
    progress.warn(`traffic of ${name} is pinned to named revisions: the new one gets none until you change that`);
  progress[Symbol.dispose]();
  await printObject(context, service, () => {
    if (service.status?.url) context.out(`${service.status.url}\n`);
  });
}

async function explain(
  context: Context,
  client: Client,
  of: { namespace: string; name: string },
  error: unknown,
): Promise<void> {
  if (!(error instanceof EbbError)) return;
  if (error.code === codes.interrupted) {
    context.err(`the rollout of ${of.name} goes on: follow it with "ebb describe ${of.name}"\n`);
  } else if (error.code === codes.notReady) {
    const lines = await lastLines(client, of);
    const unseen = lines.filter((line) => !error.message.includes(line));
    if (unseen.length > 0) {
      context.err(`last lines of ${of.name}:\n${unseen.map((line) => `  ${printable(line)}\n`).join('')}`);
    }
  }
}

async function lastLines(client: Client, of: { namespace: string; name: string }): Promise<string[]> {
  const lines: string[] = [];
  try {
    const signal = AbortSignal.timeout(logTimeoutMs);
    const query = { tailLines: lastLogLines };
    for await (const line of client.lines('GET', paths.log(of.namespace, of.name), { query, signal })) {
      const { text } = line as { text?: string };
      if (text) lines.push(text);
    }
  } catch {
    // The condition's own message has to do.
  }
  return lines;
}
