import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Kind } from '../resources/api.ts';
import { apiVersionOf, type KubeObject } from '../resources/index.ts';
import type { WatchEvent } from '../store/store.ts';
import type { Collection } from './collection.ts';
import type { ListQuery } from './query.ts';
import { failure } from './status.ts';
import { metadataOf, tableOf, type Form } from './table.ts';

export interface WatchRequest {
  kind: Kind;
  collection: Collection;
  namespace: string | undefined;
  query: ListQuery;
  form: Form;
  clock: Clock;
  logger: Logger;
  /** Aborts when the server stops. */
  signal: AbortSignal;
}

/** How long a watch lasts when its client does not say (Kubernetes: 30 to 60 minutes). */
const defaultTimeoutSeconds = 1800;
const maxTimeoutSeconds = 24 * 3600;

type Line = { type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'; object: unknown };

/**
 * Answers a watch: one JSON line for each event until the client goes, the time is up or the server stops. Pulled by the
 * client: nothing is read from the store while the socket is full.
 */
export function watchResponse(request: WatchRequest): Response {
  const end = new AbortController();
  const signal = AbortSignal.any([request.signal, end.signal]);
  const seconds = Math.min(request.query.timeoutSeconds || defaultTimeoutSeconds, maxTimeoutSeconds);
  const timer = request.clock.after(seconds * 1000, () => end.abort());
  const lines = watchLines(request, signal);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await lines.next();
        if (!done) return controller.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
        timer[Symbol.dispose]();
        controller.close();
      },
      async cancel() {
        timer[Symbol.dispose]();
        end.abort();
        await lines.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-cache, private',
      'transfer-encoding': 'chunked',
    },
  });
}

async function* watchLines(request: WatchRequest, signal: AbortSignal): AsyncGenerator<Line, void, undefined> {
  const { kind, collection, namespace, query, logger } = request;
  const show = shower(request);
  try {
    const fromVersion = await startOf(request);
    let starting = fromVersion === undefined;
    const events = collection.watch({ namespace, signal, ...(fromVersion === undefined ? {} : { fromVersion }) });
    for await (const event of events) {
      if (event.type === 'BOOKMARK') {
        const initialEnd = starting && query.sendInitialEvents === true;
        starting = false;
        if (initialEnd || query.allowBookmarks) {
          yield { type: 'BOOKMARK', object: bookmark(kind, event.resourceVersion, initialEnd) };
        }
        continue;
      }
      const type = query.matches ? typeFor(event, query.matches) : event.type;
      if (type !== undefined) yield { type, object: show(event.object) };
    }
  } catch (error) {
    if (!(error instanceof EbbError)) logger.error({ err: error, kind: kind.kind }, 'a watch failed');
    const told =
      error instanceof EbbError ? error : new EbbError('InternalError', 500, 'the watch failed: watch again');
    yield { type: 'ERROR', object: failure(told) };
  }
}

/** The version to begin after; undefined for "the present, then what follows". */
async function startOf({ collection, namespace, query }: WatchRequest): Promise<string | undefined> {
  if (query.sendInitialEvents === true) return undefined;
  const { resourceVersion } = query;
  if (resourceVersion !== undefined && resourceVersion !== '0') return resourceVersion;
  if (query.sendInitialEvents === undefined) return undefined;
  return (await collection.list({ namespace, matches: () => false })).resourceVersion;
}

/** What an event is to a client that sees only some objects: one that comes into its selection is ADDED, and so on. */
function typeFor(
  event: Exclude<WatchEvent, { type: 'BOOKMARK' }>,
  matches: (object: KubeObject) => boolean,
): Line['type'] | undefined {
  const now = matches(event.object);
  if (event.type !== 'MODIFIED') return now ? event.type : undefined;
  // A store that does not know the object before can't tell; both answers below are then harmless to a client's cache.
  const before = event.previous === undefined ? true : matches(event.previous);
  if (now) return before ? 'MODIFIED' : 'ADDED';
  return before ? 'DELETED' : undefined;
}

function shower({ kind, form, clock }: WatchRequest): (object: KubeObject) => unknown {
  let first = true;
  return (object) => {
    if (form.as === 'object') return object;
    if (form.as === 'metadata') return metadataOf(object);
    const columns = first;
    first = false;
    const { resourceVersion } = object.metadata;
    return tableOf(kind, [object], { resourceVersion }, form.include, clock.now(), columns);
  };
}

function bookmark(kind: Kind, resourceVersion: string, initialEnd: boolean): unknown {
  return {
    kind: kind.kind,
    apiVersion: apiVersionOf(kind.group, kind.version),
    metadata: {
      resourceVersion,
      creationTimestamp: null,
      ...(initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    },
  };
}
