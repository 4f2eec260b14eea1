import { watch } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Tells about each file that conmon leaves in its exit directory, those that are there already too, until disposed.
 * conmon writes them atomically (rename). `ended` may be called more than once for one id.
 */
export function watchExits(
  dir: string,
  ended: (id: string, code: number) => void,
): Disposable & {
  /** Looks again at the file of one id; undefined when there is none. */
  codeOf(id: string): Promise<number | undefined>;
} {
  const codeOf = async (id: string) => {
    const text = await readFile(join(dir, id), 'utf8').catch(() => ''); // not there: still running, or taken away
    return /^\d{1,3}$/.test(text.trim()) ? Number(text.trim()) : undefined;
  };
  const look = async (id: string) => {
    const code = await codeOf(id);
    if (code !== undefined) ended(id, code);
  };
  const watcher = watch(dir, { persistent: false }, (_event, name) => {
    if (name !== null) void look(name);
  });
  // What came before the watch; a vanished directory is found by whoever uses it next.
  void readdir(dir).then(
    (ids) => ids.forEach((id) => void look(id)),
    () => undefined,
  );
  return { codeOf, [Symbol.dispose]: () => watcher.close() };
}
