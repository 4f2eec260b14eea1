import type { DeleteOptions } from '../store/store.ts';
import { mediaTypeOf, parse, readBody } from './body.ts';
import { isDryRun, type Query } from './query.ts';
import { badRequest } from './status.ts';

/** metav1.DeleteOptions, from the body or the query. Without any, dependents go in the background. */
export async function readDeleteOptions(
  request: Request,
  query: Query,
): Promise<{ options: DeleteOptions; dryRun: boolean }> {
  const bytes = await readBody(request);
  const body = bytes.length === 0 ? {} : await parse(mediaTypeOf(request), bytes);
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw badRequest('DeleteOptions must be an object');
  const given = body as {
    propagationPolicy?: unknown;
    orphanDependents?: unknown;
    preconditions?: { uid?: unknown; resourceVersion?: unknown } | null;
    dryRun?: unknown;
  };
  const options: DeleteOptions = {};
  const propagation =
    given.propagationPolicy ?? query('propagationPolicy') ?? (given.orphanDependents === true ? 'Orphan' : undefined);
  if (propagation !== undefined && propagation !== '') {
    if (propagation !== 'Background' && propagation !== 'Foreground' && propagation !== 'Orphan') {
      throw badRequest('propagationPolicy must be Background, Foreground or Orphan');
    }
    options.propagation = propagation;
  }
  const { uid, resourceVersion } = given.preconditions ?? {};
  if (typeof uid === 'string') options.uid = uid;
  if (typeof resourceVersion === 'string') options.resourceVersion = resourceVersion;
  const all = Array.isArray(given.dryRun) && given.dryRun.length > 0;
  return { options, dryRun: isDryRun(all ? () => String(given.dryRun) : query) };
}
