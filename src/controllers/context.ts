import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import type { ResourceStore } from '../store/store.ts';
import type { Caches } from './changes.ts';
import type { RecordEvent, RevisionRuntime, RoutePublisher } from './ports.ts';
import type { HostNames } from './route/hosts.ts';

/** What every reconciler is given. */
export interface Context {
  store: ResourceStore;
  caches: Caches;
  runtime: RevisionRuntime;
  publisher: RoutePublisher;
  recordEvent: RecordEvent;
  names: HostNames;
  clock: Clock;
  logger: Logger;
}
