import type { Answer } from './answer.ts';
import type { Instance } from './instance.ts';
import type { RevisionEntry, RevisionStats } from './wire.ts';

/**
 * A request that wants an instance. `assigned` is called with an instance on which a place was taken for it (to be given back
 * by {@link Revision.release}), `refused` when there will be none.
 */
export abstract class Waiter {
  /** Links of the revision's queue; nobody else's business. */
  before: Waiter | undefined;
  after: Waiter | undefined;
  queued = false;
  /** There was no ready instance when it began to wait. */
  cold = false;

  abstract assigned(instance: Instance): void;
  abstract refused(answer: Answer): void;
}

/** How a revision tells of what it needs. */
export interface RevisionEvents {
  /** Requests wait and no instance is ready. */
  activate(revision: Revision): void;
}

/**
 * A revision's requests: a bounded first-come-first-served queue, the choice of the instance with the fewest requests, and the
 * count of both over time.
 *
 * The queue holds `maxQueued` requests whatever the containerConcurrency. (Knative has two: 10,000 a revision in its activator,
 * and 10 x containerConcurrency in each instance's queue-proxy; here there is one hop and one queue, with the activator's bound.)
 */
export class Revision {
  entry: RevisionEntry;
  readonly instances: Instance[] = [];
  inFlight = 0;
  queued = 0;
  /** Requests that may still be repeated: fed by requests, eaten by repeats, so that a failing app is not hit twice as hard. */
  retryBudget = 1000;
  #head: Waiter | undefined;
  #tail: Waiter | undefined;
  readonly #events: RevisionEvents;
  readonly #maxQueued: number;
  #next = 0;
  // Time-weighted concurrency of the running period: the integral of (inFlight + queued) over time.
  #area = 0;
  #areaAt: number;
  #ended = 0;
  #wasActive = false;

  constructor(entry: RevisionEntry, events: RevisionEvents, options: { maxQueued: number; now: number }) {
    this.entry = entry;
    this.#events = events;
    this.#maxQueued = options.maxQueued;
    this.#areaAt = options.now;
  }

  /** Gives the waiter a place now, queues it, or refuses it; at once in each case. */
  acquire(waiter: Waiter, now: number): void {
    if (this.entry.failure !== undefined) {
      this.#ended++;
      waiter.refused({ status: 503, reason: 'RevisionFailed', message: this.entry.failure, retryAfter: 10 });
      return;
    }
    const instance = this.queued === 0 ? this.#pick(now) : undefined;
    if (instance) {
      this.#integrate(now);
      this.#assign(waiter, instance);
      return;
    }
    if (this.queued >= this.#maxQueued) {
      this.#ended++;
      waiter.refused({ status: 503, reason: 'QueueFull', message: 'pending request queue full', retryAfter: 1 });
      return;
    }
    this.#integrate(now);
    waiter.cold = !this.hasUsable(now);
    this.#enqueue(waiter, 'last');
    if (waiter.cold && this.queued === 1) this.#events.activate(this);
  }

  /**
   * A waiter whose instance failed before it took the request: its place is given back and it waits again, before all others.
   */
  requeue(waiter: Waiter, instance: Instance, now: number): void {
    this.#integrate(now);
    instance.inFlight--;
    this.inFlight--;
    if (this.entry.failure !== undefined) {
      waiter.refused({ status: 503, reason: 'RevisionFailed', message: this.entry.failure, retryAfter: 10 });
      return;
    }
    this.#enqueue(waiter, 'first');
    this.instancesChanged(now);
  }

  /** Takes a waiter out of the queue: its client went away or its time is over. */
  leave(waiter: Waiter, now: number): void {
    if (!waiter.queued) return;
    this.#integrate(now);
    this.#unlink(waiter);
    this.#ended++;
  }

  /** Gives a place back: the request has ended. */
  release(instance: Instance, now: number): void {
    this.#integrate(now);
    instance.inFlight--;
    this.inFlight--;
    this.#ended++;
    if (this.retryBudget < 1000) this.retryBudget += 0.2;
    if (this.queued > 0) this.pump(now);
  }

  /** Hands out free places to those who wait, in their order. Called whenever a place may have become free. */
  pump(now: number): void {
    while (this.#head) {
      const instance = this.#pick(now);
      if (!instance) return;
      const waiter = this.#head;
      this.#integrate(now);
      this.#unlink(waiter);
      this.#assign(waiter, instance);
    }
  }

  /** Its instances, or what is known of them, are others than before. */
  instancesChanged(now: number): void {
    this.pump(now);
    if (this.queued > 0 && !this.hasUsable(now)) this.#events.activate(this);
  }

  /** Refuses everybody who waits. */
  refuseAll(answer: Answer, now: number): void {
    this.#integrate(now);
    while (this.#head) {
      const waiter = this.#head;
      this.#unlink(waiter);
      this.#ended++;
      waiter.refused(answer);
    }
  }

  /** Some instance would take requests, now or as soon as it has a free place. */
  hasUsable(now: number): boolean {
    return this.instances.some((i) => i.usable(now));
  }

  /** What happened since the last call, or undefined if nothing did (after one all-zero report). */
  stats(now: number, periodMs: number): RevisionStats | undefined {
    this.#integrate(now);
    const active = this.#area > 0 || this.#ended > 0 || this.queued > 0 || this.inFlight > 0;
    const report = active || this.#wasActive;
    const concurrency = periodMs > 0 ? this.#area / periodMs : 0;
    const requests = this.#ended;
    this.#area = 0;
    this.#ended = 0;
    this.#wasActive = active;
    if (!report) return undefined;
    return { revision: this.entry.id, concurrency, requests, queued: this.queued, inFlight: this.inFlight };
  }

  /** The available instance with the fewest requests; among equals, each in its turn. */
  #pick(now: number): Instance | undefined {
    const { instances } = this;
    const count = instances.length;
    const limit = this.entry.containerConcurrency;
    let best: Instance | undefined;
    const start = this.#next++;
    for (let i = 0; i < count; i++) {
      const instance = instances[(start + i) % count];
      if (!instance?.available(now, limit)) continue;
      if (!best || instance.inFlight < best.inFlight) best = instance;
      if (best.inFlight === 0) break;
    }
    return best;
  }

  #assign(waiter: Waiter, instance: Instance): void {
    instance.inFlight++;
    this.inFlight++;
    waiter.assigned(instance);
  }

  #integrate(now: number): void {
    if (now > this.#areaAt) {
      this.#area += (this.inFlight + this.queued) * (now - this.#areaAt);
      this.#areaAt = now;
    }
  }

  #enqueue(waiter: Waiter, where: 'first' | 'last'): void {
    waiter.queued = true;
    this.queued++;
    if (!this.#head || !this.#tail) {
      this.#head = this.#tail = waiter;
    } else if (where === 'last') {
      waiter.before = this.#tail;
      this.#tail.after = waiter;
      this.#tail = waiter;
    } else {
      waiter.after = this.#head;
      this.#head.before = waiter;
      this.#head = waiter;
    }
  }

  #unlink(waiter: Waiter): void {
    waiter.queued = false;
    this.queued--;
    if (waiter.before) waiter.before.after = waiter.after;
    else this.#head = waiter.after;
    if (waiter.after) waiter.after.before = waiter.before;
    else this.#tail = waiter.before;
    waiter.before = waiter.after = undefined;
  }
}
