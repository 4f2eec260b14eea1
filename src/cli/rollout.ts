import { EbbError } from '../platform/errors.ts';
import { type Client, interrupted } from './client.ts';
import { codes } from './exit.ts';
import { conditionOf, paths, type Condition, type Service } from './kube.ts';
import { observeOne } from './observe.ts';

export type Verdict =
  { state: 'ready' } | { state: 'failed'; reason: string; message: string } | { state: 'waiting'; what: string };

/** What a Service's status says about the generation that was deployed. Pure. */
export function verdictOf(service: Service): Verdict {
  const { generation } = service.metadata;
  if (generation !== undefined && (service.status?.observedGeneration ?? 0) < generation) {
    return { state: 'waiting', what: 'waiting for the controllers' };
  }
  const ready = conditionOf(service);
  if (ready?.status === 'True') return { state: 'ready' };
  if (ready?.status === 'False') {
    return { state: 'failed', reason: ready.reason ?? 'NotReady', message: ready.message ?? 'no reason given' };
  }
  const open = service.status?.conditions?.find((c) => c.type !== 'Ready' && c.status === 'Unknown') ?? ready;
  return { state: 'waiting', what: describe(open) };
}

export interface RolloutOptions {
  timeoutMs: number;
  signal: AbortSignal;
  /** Told of each change of what is waited for. */
  onChange: (what: string) => void;
}

/**
 * Follows a Service until the generation that is there now is ready, and returns it. Throws EbbError: NotReady with the
 * condition's reason and message, Timeout, NotFound when it is deleted meanwhile, Interrupted.
 */
export async function rolledOut(
  client: Client,
  namespace: string,
  name: string,
  options: RolloutOptions,
): Promise<Service> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  let what = '';
  try {
    const signal = AbortSignal.any([options.signal, deadline]);
    for await (const service of observeOne<Service>(client, paths.services(namespace), name, signal)) {
      if (!service) throw new EbbError('NotFound', 404, `service "${name}" was deleted while it was being rolled out`);
      const verdict = verdictOf(service);
      if (verdict.state === 'ready') return service;
      if (verdict.state === 'failed') {
        throw new EbbError(codes.notReady, 503, `${name} is not ready: ${verdict.reason}: ${verdict.message}`);
      }
      if (verdict.what !== what) options.onChange((what = verdict.what));
    }
  } catch (error) {
    if (!deadline.aborted || options.signal.aborted) throw error;
    const after = `${options.timeoutMs / 1000} s`;
    throw new EbbError(
      codes.timeout,
      504,
      `${name} is not ready after ${after} (${what || 'no status yet'}); the rollout goes on: see "ebb describe ${name}"`,
    );
  }
  throw interrupted();
}

function describe(condition: Condition | undefined): string {
  if (!condition) return 'waiting for a first status';
  const why = [condition.reason, condition.message].filter(Boolean).join(': ');
  return why ? `${condition.type}: ${why}` : condition.type;
}
