import type { InstanceEntry, RevisionEntry, RouteEntry } from '../gateway/wire.ts';

/** What the gateway is told. Deltas go out as they happen; a new connection gets {@link GatewayTable.snapshot}. */
export interface TableSink {
  route(route: RouteEntry): void;
  routeGone(host: string): void;
  revision(revision: RevisionEntry): void;
  revisionGone(id: string): void;
  instance(instance: InstanceEntry): void;
  instanceGone(id: string): void;
}

export interface GatewayTable {
  /** Replaces all hosts of one Route (`namespace/name`); an empty list removes them. */
  setRoutes(owner: string, routes: readonly RouteEntry[]): void;
  setRevision(revision: RevisionEntry): void;
  removeRevision(id: string): void;
  setInstance(instance: InstanceEntry): void;
  removeInstance(id: string): void;
  snapshot(): { routes: RouteEntry[]; revisions: RevisionEntry[]; instances: InstanceEntry[] };
}

/** The control process's copy of the gateway's table. Only real changes reach the sink. */
export function createGatewayTable(sink: TableSink): GatewayTable {
  const hosts = new Map<string, { owner: string; route: RouteEntry; json: string }>();
  const revisions = new Map<string, { entry: RevisionEntry; json: string }>();
  const instances = new Map<string, { entry: InstanceEntry; json: string }>();
  const hostsOf = new Map<string, string[]>();

  return {
    setRoutes(owner, routes) {
      const kept = new Set(routes.map((r) => r.host));
      for (const host of hostsOf.get(owner) ?? []) {
        if (kept.has(host) || hosts.get(host)?.owner !== owner) continue;
        hosts.delete(host);
        sink.routeGone(host);
      }
      const own: string[] = [];
      for (const route of routes) {
        const present = hosts.get(route.host);
        // A host belongs to whoever had it first; the controllers refuse the second claim in the Route's conditions.
        if (present && present.owner !== owner) continue;
        own.push(route.host);
        const json = JSON.stringify(route);
        if (present?.json === json) continue;
        hosts.set(route.host, { owner, route, json });
        sink.route(route);
      }
      if (own.length > 0) hostsOf.set(owner, own);
      else hostsOf.delete(owner);
    },
    setRevision(entry) {
      const json = JSON.stringify(entry);
      if (revisions.get(entry.id)?.json === json) return;
      revisions.set(entry.id, { entry, json });
      sink.revision(entry);
    },
    removeRevision(id) {
      if (revisions.delete(id)) sink.revisionGone(id);
    },
    setInstance(entry) {
      const json = JSON.stringify(entry);
      if (instances.get(entry.id)?.json === json) return;
      instances.set(entry.id, { entry, json });
      sink.instance(entry);
    },
    removeInstance(id) {
      if (instances.delete(id)) sink.instanceGone(id);
    },
    snapshot: () => ({
      routes: [...hosts.values()].map((h) => h.route),
      revisions: [...revisions.values()].map((r) => r.entry),
      instances: [...instances.values()].map((i) => i.entry),
    }),
  };
}
