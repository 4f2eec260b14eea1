import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { ReadableStream as WebReadableStream } from 'node:stream/web';
import { mkdir, rm } from 'node:fs/promises';
import type { Context, Hono } from 'hono';
import { buildImage } from '../../builder/build.ts';
import type { ImageStore } from '../../images/images.ts';
import type { Clock } from '../../platform/clock.ts';
import { EbbError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import type { Spawner } from '../../platform/spawn.ts';
import { isDns1035Label } from '../../resources/index.ts';
import { extractSource } from './extract-source.ts';
import { ndjson } from './ndjson.ts';

const base = '/apis/ebb.dev/v1alpha1/namespaces/:namespace';

/**
 * `POST .../builds?name=N`: a tar of a source folder in, an image `ebb.local/NAMESPACE/N` out.
 * `POST .../images?name=N&format=oci-archive|docker-archive[&tag=T]`: an image archive in, the same out.
 * Both answer newline-delimited JSON: `progress` lines, then one `done` or `error`.
 */
export function imageRoutes(
  app: Hono,
  deps: { images: ImageStore; cacheDir: string; spawner: Spawner; clock: Clock; logger: Logger },
): void {
  app.post(`${base}/builds`, (c) => {
    const target = targetOf(c);
    return ndjson(c, deps.logger, async (write, signal) => {
      const source = join(deps.cacheDir, 'sources', randomUUID());
      await mkdir(source, { recursive: true, mode: 0o700 });
      try {
        await extractSource(bodyOf(c), source, signal);
        const built = await buildImage({
          source,
          ...target,
          content: deps.images.content,
          cacheDir: deps.cacheDir,
          spawner: deps.spawner,
          clock: deps.clock,
          logger: deps.logger,
          signal,
          onProgress: (event) => void write({ type: 'progress', ...event }),
        });
        await write({ type: 'done', ...built });
      } finally {
        await rm(source, { recursive: true, force: true });
      }
    });
  });

  app.post(`${base}/images`, (c) => {
    const target = targetOf(c);
    const format = c.req.query('format');
    if (format !== 'oci-archive' && format !== 'docker-archive') {
      throw new EbbError(
        'BadRequest',
        400,
        `format "${format ?? ''}" is not known: it is oci-archive or docker-archive`,
      );
    }
    const tag = c.req.query('tag');
    return ndjson(c, deps.logger, async (write, signal) => {
      await write({ type: 'progress', message: 'importing image' });
      const image = await deps.images.importArchive(bodyOf(c), {
        format,
        name: `ebb.local/${target.namespace}/${target.name}`,
        signal,
        ...(tag ? { tag } : {}),
      });
      await write({ type: 'done', reference: image.resolved, detected: format, sizeBytes: image.manifest.size });
    });
  });
}

function targetOf(c: Context): { name: string; namespace: string } {
  const name = c.req.query('name') ?? '';
  const namespace = c.req.param('namespace') ?? '';
  for (const [what, value] of [
    ['name', name],
    ['namespace', namespace],
  ] as const) {
    if (!isDns1035Label(value)) {
      throw new EbbError(
        'BadRequest',
        400,
        `${what} "${value.slice(0, 80)}" is not a DNS label: lower-case letters, digits and "-", starting with a letter, at most 63`,
      );
    }
  }
  return { name, namespace };
}

function bodyOf(c: Context): Readable {
  const body = c.req.raw.body;
  if (!body) throw new EbbError('BadRequest', 400, 'the request has no body: send a tar stream');
  // The DOM's and Node's types of the same stream differ by name only.
  return Readable.fromWeb(body as unknown as WebReadableStream);
}
