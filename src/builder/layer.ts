import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Header } from 'tar-stream';
import type { ContentStore } from '../images/images.ts';
import type { NewLayer } from '../images/write.ts';
import type { LayerEntry, Tree } from './tree.ts';

/** Not compressed: layers stay on this machine, where compressing 120 MB of Node costs more than it saves. */
const mediaType = 'application/vnd.oci.image.layer.v1.tar';

/**
 * Stores `tree` as one layer. The same paths, modes and contents always give the same digest: entries are sorted,
 * times are zero, owners are numbers. A file that changes its size meanwhile makes it throw.
 */
export async function storeLayer(content: ContentStore, tree: Tree, signal?: AbortSignal): Promise<NewLayer> {
  const { digest, size } = await content.put(tarOf(tree, signal));
  // Without compression the blob is its own uncompressed tar.
  return { descriptor: { mediaType, digest, size }, diffId: digest };
}

/** A tar stream of `tree`. */
export function tarOf(tree: Tree, signal?: AbortSignal): Readable {
  const tar = pack();
  const write = async () => {
    for (const entry of tree.entries()) {
      signal?.throwIfAborted();
      await writeEntry(tar, entry, signal);
    }
    tar.finalize();
  };
  // The reader of the stream is told; nobody else waits for this.
  write().catch((error: unknown) => tar.destroy(error instanceof Error ? error : new Error(String(error))));
  // tar-stream's own streams are streamx'; readers of ours expect Node's.
  return Readable.from(tar, { objectMode: false });
}

async function writeEntry(tar: ReturnType<typeof pack>, entry: LayerEntry, signal?: AbortSignal): Promise<void> {
  const header: Partial<Header> & { name: string } = {
    name: entry.path,
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    mtime: new Date(0),
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    type: entry.type,
  };
  if (entry.type === 'symlink') header.linkname = entry.target;
  if (entry.type === 'file' && 'host' in entry.from && entry.from.size > 0) {
    const sink = tar.entry({ ...header, size: entry.from.size });
    const file = createReadStream(entry.from.host, { highWaterMark: 1024 * 1024 });
    await pipeline(file, sink as unknown as NodeJS.WritableStream, signal ? { signal } : {});
    return;
  }
  const bytes = entry.type === 'file' && 'bytes' in entry.from ? entry.from.bytes : Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    tar.entry({ ...header, size: bytes.length }, bytes, (error) => (error ? reject(error) : resolve()));
  });
}
