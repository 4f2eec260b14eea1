import type { Hono } from 'hono';
import { apiVersionOf } from '../resources/index.ts';
import type { Kind } from '../resources/api.ts';
import { aggregatedDiscovery } from './aggregated-discovery.ts';
import type { ApiEnv } from './app.ts';
import { subresourcesOf } from './subresources.ts';

/** The Kubernetes version whose API this follows; clients use it to know which features they may expect. */
const kubernetes = { major: '1', minor: '32' };

/** `/version`, `/api`, `/apis` (plain and aggregated) and the resource list of each group and version. */
export function discoveryRoutes(app: Hono<ApiEnv>, kinds: readonly Kind[], version: string): void {
  app.get('/version', (c) =>
    c.json({
      ...kubernetes,
      gitVersion: `v${kubernetes.major}.${kubernetes.minor}.0+ebb.${version}`,
      gitCommit: '',
      gitTreeState: 'clean',
      buildDate: '1970-01-01T00:00:00Z',
      goVersion: process.version,
      compiler: 'node',
      platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
    }),
  );

  const groups = [...new Set(kinds.map((k) => k.group))];
  const versionsOf = (group: string) => [...new Set(kinds.filter((k) => k.group === group).map((k) => k.version))];
  const apiGroup = (name: string) => {
    const versions = versionsOf(name).map((v) => ({ groupVersion: apiVersionOf(name, v), version: v }));
    return { name, versions, preferredVersion: versions[0] };
  };

  const core = kinds.filter((k) => k.group === '');
  const named = kinds.filter((k) => k.group !== '');
  app.get('/api', (c) =>
    aggregatedDiscovery(c, core, () => ({
      kind: 'APIVersions',
      versions: versionsOf(''),
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: new URL(c.req.url).host }],
    })),
  );
  app.get('/apis', (c) =>
    aggregatedDiscovery(c, named, () => ({
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: groups.filter((g) => g !== '').map(apiGroup),
    })),
  );
  for (const group of groups) {
    if (group !== '')
      app.get(`/apis/${group}`, (c) => c.json({ kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group) }));
    for (const v of versionsOf(group)) {
      const resources = kinds.filter((k) => k.group === group && k.version === v).flatMap(resourcesOf);
      const list = { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersionOf(group, v), resources };
      app.get(pathOf(group, v), (c) => c.json(list));
    }
  }
}

/** `/api/v1`, `/apis/serving.knative.dev/v1`. */
export function pathOf(group: string, version: string): string {
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

function resourcesOf(kind: Kind): object[] {
  const common = { namespaced: kind.namespaced, kind: kind.kind };
  return [
    {
      name: kind.plural,
      singularName: kind.singular,
      ...common,
      verbs: kind.verbs,
      ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
      ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
    },
    ...subresourcesOf(kind).map(({ name, verbs }) => ({
      name: `${kind.plural}/${name}`,
      singularName: '',
      ...common,
      verbs,
    })),
  ];
}
