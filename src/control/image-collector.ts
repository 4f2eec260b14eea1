import type { ImageStore } from '../images/images.ts';
import type { Clock } from '../platform/clock.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/logger.ts';
import type { Revision } from '../resources/index.ts';
import type { ResourceStore } from '../store/store.ts';

const everyMs = 30 * 60 * 1000;

/** Frees, every half hour, what no image name and no stored Revision needs any more. */
export function startImageCollector(deps: {
  store: ResourceStore;
  images: ImageStore;
  clock: Clock;
  logger: Logger;
}): Disposable {
  const collect = async () => {
    const revisions = await deps.store.list<Revision>({ group: 'serving.knative.dev', kind: 'Revision' });
    const inUse = revisions.items.flatMap((r) => [
      ...r.spec.containers.map((c) => c.image).filter((image) => image.includes('@sha256:')),
      ...(r.status?.containerStatuses ?? []).flatMap((s) => s.imageDigest ?? []),
    ]);
    const { freedBytes } = await deps.images.collect(inUse);
    if (freedBytes > 0) deps.logger.info({ freedBytes }, 'collected images');
  };
  return deps.clock.every(everyMs, () => {
    collect().catch((error: unknown) => deps.logger.warn({ error: messageOf(error) }, 'image collection failed'));
  });
}
