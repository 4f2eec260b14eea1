import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContentStore } from '../images/images.ts';
import type { NewLayer } from '../images/write.ts';

const maxRecords = 512;

/** Remembers which stored layer was made from which inputs, so that an unchanged layer is made once. */
export interface LayerCache {
  /** The layer made for `key` before, if its blob is still here; else what `make` gives, remembered. */
  layer(key: readonly string[], make: () => Promise<NewLayer>): Promise<NewLayer>;
}

/** A {@link LayerCache} with its records in `dir` (one small file a key, the least recently used go first). */
export function openLayerCache(dir: string, content: ContentStore): LayerCache {
  async function lookUp(path: string): Promise<NewLayer | undefined> {
    const text = await readFile(path, 'utf8').catch(() => undefined); // not there yet
    if (text === undefined) return undefined;
    const layer = parse(text);
    if (!layer || !(await content.has(layer.descriptor.digest))) return undefined;
    const now = new Date();
    await utimes(path, now, now).catch(() => undefined); // removed by another build meanwhile: only its age is lost
    return layer;
  }

  async function remember(path: string, layer: NewLayer): Promise<void> {
    await mkdir(dir, { recursive: true });
    const part = `${path}.${randomUUID()}.part`;
    await writeFile(part, JSON.stringify(layer));
    await rename(part, path);
    await trim(dir);
  }

  return {
    async layer(key, make) {
      const id = createHash('sha256').update(JSON.stringify(key)).digest('hex');
      const path = join(dir, `${id}.json`);
      const known = await lookUp(path);
      if (known) return known;
      const layer = await make();
      await remember(path, layer);
      return layer;
    },
  };
}

function parse(text: string): NewLayer | undefined {
  try {
    const layer = JSON.parse(text) as Partial<NewLayer>;
    return layer.descriptor?.digest && layer.diffId ? (layer as NewLayer) : undefined;
  } catch {
    return undefined; // half-written by a crash: made again
  }
}

async function trim(dir: string): Promise<void> {
  const names = await readdir(dir);
  if (names.length <= maxRecords) return;
  const aged = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(join(dir, name)).catch(() => undefined))?.mtimeMs ?? 0 })),
  );
  aged.sort((a, b) => a.at - b.at);
  for (const { name } of aged.slice(0, names.length - maxRecords)) await rm(join(dir, name), { force: true });
}
