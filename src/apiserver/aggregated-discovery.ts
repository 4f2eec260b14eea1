import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import type { Kind } from '../resources/api.ts';
import type { ApiEnv } from './app.ts';
import { subresourcesOf } from './subresources.ts';

/**
 * Answers `/api` or `/apis`: with everything about its kinds in one document (KEP-3352) where the client asks for
 * that, as kubectl 1.26 and later do, else with the plain list. The document is the same until the server is another:
 * clients keep it by its ETag.
 */
export function aggregatedDiscovery(c: Context<ApiEnv>, kinds: readonly Kind[], plain: () => object): Response {
  c.header('vary', 'Accept');
  const version = requestedVersion(c.req.header('accept') ?? '');
  if (!version) return c.json(plain());
  const body = JSON.stringify({
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: [...new Set(kinds.map((k) => k.group))].map((group) => ({
      metadata: { name: group, creationTimestamp: null },
      versions: versionsOf(kinds.filter((k) => k.group === group)),
    })),
  });
  const etag = `"${createHash('sha256').update(body).digest('hex').toUpperCase()}"`;
  c.header('etag', etag);
  if (c.req.header('if-none-match') === etag) return c.body(null, 304);
  const type = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
  return c.body(body, 200, { 'content-type': type, 'cache-control': 'public' });
}

/** The first version in an Accept header that is spoken here; both have the same fields. */
function requestedVersion(accept: string): 'v2' | 'v2beta1' | undefined {
  for (const range of accept.split(',')) {
    const [type = '', ...parameters] = range.split(';').map((p) => p.trim());
    if (type.toLowerCase() !== 'application/json') continue;
    if (!parameters.includes('g=apidiscovery.k8s.io') || !parameters.includes('as=APIGroupDiscoveryList')) continue;
    if (parameters.includes('v=v2')) return 'v2';
    if (parameters.includes('v=v2beta1')) return 'v2beta1';
  }
  return undefined;
}

function versionsOf(kinds: readonly Kind[]): object[] {
  return [...new Set(kinds.map((k) => k.version))].map((version) => ({
    version,
    freshness: 'Current',
    resources: kinds.filter((k) => k.version === version).map(resourceOf),
  }));
}

function resourceOf(kind: Kind): object {
  const responseKind = { group: kind.group, version: kind.version, kind: kind.kind };
  const subresources = subresourcesOf(kind).map(({ name, verbs }) => ({ subresource: name, responseKind, verbs }));
  return {
    resource: kind.plural,
    responseKind,
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: kind.verbs,
    ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
    ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  };
}
