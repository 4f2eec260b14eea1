import { Instance } from './instance.ts';
import { Revision, type RevisionEvents } from './revision.ts';
import type { InstanceEntry, RevisionEntry, RevisionId, RouteEntry, ToGateway } from './wire.ts';

/** The messages that change the table. */
export type TableMessage = Exclude<ToGateway, { type: 'hello' | 'drain' | 'quit' }>;

/**
 * What the gateway was told: hosts, revisions and instances, with what is in flight on them. Forgotten instances stay known
 * until their last request has ended, so that one that comes back is never given more than its limit.
 */
export class RouteTable {
  readonly #routes = new Map<string, RouteEntry>();
  readonly #revisions = new Map<RevisionId, Revision>();
  readonly #instances = new Map<string, Instance>();
  readonly #events: RevisionEvents;
  readonly #maxQueued: number;

  constructor(events: RevisionEvents, options: { maxQueued: number }) {
    this.#events = events;
    this.#maxQueued = options.maxQueued;
  }

  route(host: string): RouteEntry | undefined {
    return this.#routes.get(host);
  }

  revision(id: RevisionId): Revision | undefined {
    return this.#revisions.get(id);
  }

  instance(id: string): Instance | undefined {
    return this.#instances.get(id);
  }

  revisions(): Iterable<Revision> {
    return this.#revisions.values();
  }

  instances(): Iterable<Instance> {
    return this.#instances.values();
  }

  /** Applies a message; `now` is monotonic milliseconds. */
  apply(message: TableMessage, now: number): void {
    switch (message.type) {
      case 'sync':
        this.#sync(message, now);
        return;
      case 'route':
        this.#routes.set(message.route.host, message.route);
        return;
      case 'route-gone':
        this.#routes.delete(message.host);
        return;
      case 'revision':
        this.#setRevision(message.revision, now);
        return;
      case 'revision-gone':
        this.#removeRevision(message.id, now);
        return;
      case 'instance':
        this.#setInstance(message.instance, now);
        return;
      case 'instance-gone':
        this.#removeInstance(message.id, now);
        return;
    }
  }

  /** Drops a forgotten instance once nothing is in flight on it. */
  settle(instance: Instance): void {
    if (instance.gone && instance.inFlight === 0 && this.#instances.get(instance.id) === instance) {
      this.#instances.delete(instance.id);
    }
  }

  #sync(table: Extract<ToGateway, { type: 'sync' }>, now: number): void {
    this.#routes.clear();
    for (const route of table.routes) this.#routes.set(route.host, route);
    const revisions = new Set(table.revisions.map((r) => r.id));
    const instances = new Set(table.instances.map((i) => i.id));
    for (const id of [...this.#instances.keys()]) if (!instances.has(id)) this.#removeInstance(id, now);
    for (const id of [...this.#revisions.keys()]) if (!revisions.has(id)) this.#removeRevision(id, now);
    for (const revision of table.revisions) this.#setRevision(revision, now);
    for (const instance of table.instances) this.#setInstance(instance, now);
  }

  #setRevision(entry: RevisionEntry, now: number): void {
    const known = this.#revisions.get(entry.id);
    if (!known) {
      const revision = new Revision(entry, this.#events, { maxQueued: this.#maxQueued, now });
      this.#revisions.set(entry.id, revision);
      // Instances may have been told of before their revision.
      for (const instance of this.#instances.values()) {
        if (instance.entry.revision === entry.id && !instance.gone) revision.instances.push(instance);
      }
      return;
    }
    known.entry = entry;
    if (entry.failure !== undefined) {
      known.refuseAll({ status: 503, reason: 'RevisionFailed', message: entry.failure, retryAfter: 10 }, now);
    } else {
      known.pump(now);
    }
  }

  #removeRevision(id: RevisionId, now: number): void {
    const revision = this.#revisions.get(id);
    if (!revision) return;
    this.#revisions.delete(id);
    revision.refuseAll({ status: 503, reason: 'RevisionGone', message: `revision ${id} was deleted` }, now);
  }

  #setInstance(entry: InstanceEntry, now: number): void {
    let instance = this.#instances.get(entry.id);
    if (!instance) {
      instance = new Instance(entry);
      this.#instances.set(entry.id, instance);
    }
    const moved = instance.entry.host !== entry.host || instance.entry.port !== entry.port;
    if (instance.entry.revision !== entry.revision) this.#unlist(instance);
    // Being told "ready" again is news: whatever made it unreachable is worth another try.
    if (entry.state === 'ready' && (moved || instance.gone || instance.entry.state !== 'ready')) instance.markUp();
    if (moved || entry.state !== 'ready') instance.closeIdle();
    instance.entry = entry;
    instance.gone = false;
    const revision = this.#revisions.get(entry.revision);
    if (!revision) return;
    if (!revision.instances.includes(instance)) revision.instances.push(instance);
    revision.instancesChanged(now);
  }

  #removeInstance(id: string, now: number): void {
    const instance = this.#instances.get(id);
    if (!instance) return;
    instance.gone = true;
    instance.closeIdle();
    this.#unlist(instance);
    this.settle(instance);
    this.#revisions.get(instance.entry.revision)?.instancesChanged(now);
  }

  #unlist(instance: Instance): void {
    const list = this.#revisions.get(instance.entry.revision)?.instances;
    const at = list?.indexOf(instance) ?? -1;
    if (at >= 0) list?.splice(at, 1);
  }
}

/** Picks a target by its percentage; `random` is in [0, 1). Undefined when no target has any. */
export function pickTarget(route: RouteEntry, random: () => number): RevisionId | undefined {
  const [first] = route.targets;
  if (first && route.targets.length === 1) return first.revision;
  let total = 0;
  for (const target of route.targets) total += target.percent;
  let point = random() * total;
  for (const target of route.targets) {
    if (target.percent <= 0) continue;
    if (point < target.percent) return target.revision;
    point -= target.percent;
  }
  return route.targets.find((t) => t.percent > 0)?.revision;
}
