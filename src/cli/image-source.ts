import { createReadStream, existsSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { EbbError } from '../platform/errors.ts';
import { folderTar } from './source-tar.ts';

/** Where the image of `--image` comes from: a registry, fetched by Ebb itself, or a file or folder that the CLI sends. */
export type ImageSource =
  | { from: 'registry'; reference: string }
  | {
      from: 'archive';
      format: 'oci-archive' | 'docker-archive';
      tag: string | undefined;
      /** For progress messages. */
      name: string;
      open(): Promise<Readable>;
    };

/**
 * Reads `--image`: a registry reference, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:TAG]`, as
 * skopeo and buildah write them. Throws EbbError ImageNotFound when the file or folder is not there.
 */
export function imageSource(text: string, cwd: string, warn: (message: string) => void): ImageSource {
  const match = /^(oci|oci-archive|docker-archive):(.+)$/.exec(text);
  if (!match) return { from: 'registry', reference: text };
  const [, kind, rest = ''] = match;
  const { path, tag } = splitTag(rest, cwd);
  const wantsFolder = kind === 'oci';
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) {
    throw new EbbError('ImageNotFound', 404, `image "${text}": there is no ${wantsFolder ? 'folder' : 'file'} ${path}`);
  }
  if (stats.isDirectory() !== wantsFolder) {
    const hint = wantsFolder ? 'is a file: use oci-archive: or docker-archive:' : 'is a folder: use oci:';
    throw new EbbError('ImageNotFound', 400, `image "${text}": ${path} ${hint}`);
  }
  if (wantsFolder && !existsSync(resolve(path, 'index.json'))) {
    throw new EbbError('ImageNotFound', 400, `image "${text}": ${path} is no OCI image layout, it has no index.json`);
  }
  return {
    from: 'archive',
    format: kind === 'docker-archive' ? 'docker-archive' : 'oci-archive',
    tag,
    name: basename(path),
    open: () =>
      wantsFolder ? folderTar(path, { warn, bigFileBytes: Infinity }) : Promise.resolve(createReadStream(path)),
  };
}

/** A path may hold colons itself: what exists as a whole has no tag. */
function splitTag(text: string, cwd: string): { path: string; tag: string | undefined } {
  const whole = resolve(cwd, text);
  const colon = text.lastIndexOf(':');
  if (colon <= 0 || existsSync(whole)) return { path: whole, tag: undefined };
  return { path: resolve(cwd, text.slice(0, colon)), tag: text.slice(colon + 1) };
}
