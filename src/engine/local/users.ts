import { lstat, open, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { EbbError, errnoOf } from '../../platform/errors.ts';

export interface ContainerUser {
  uid: number;
  gid: number;
  additionalGids: number[];
}

const largestId = 2 ** 31 - 1;

/**
 * The user of the image's `User` (image-spec config.md: `user`, `uid`, `user:group`, `uid:gid`), names looked up in the
 * image's own `passwd` and `group` files. Throws EbbError ImageUserUnknown.
 */
export function resolveUser(user: string, passwd: string, group: string): ContainerUser {
  const [name = '', groupName] = user.split(':', 2);
  const entry = name === '' ? findEntry(passwd, 2, '0') : (findEntry(passwd, 0, name) ?? findEntry(passwd, 2, name));
  const uid = name === '' ? 0 : (numericId(entry?.[2]) ?? numericId(name));
  if (uid === undefined) throw unknown('user', name, user);
  const groupEntry = groupName ? (findEntry(group, 0, groupName) ?? findEntry(group, 2, groupName)) : undefined;
  const gid = groupName ? (numericId(groupEntry?.[2]) ?? numericId(groupName)) : (numericId(entry?.[3]) ?? 0);
  if (gid === undefined) throw unknown('group', groupName ?? '', user);
  // As docker and containerd: memberships count only when no group was asked for.
  const additionalGids = groupName || !entry?.[0] ? [] : memberships(group, entry[0]).filter((g) => g !== gid);
  return { uid, gid, additionalGids };
}

function unknown(kind: string, name: string, user: string): EbbError {
  return new EbbError(
    'ImageUserUnknown',
    422,
    `the image runs as ${JSON.stringify(user.slice(0, 80))}, but its /etc/${kind === 'user' ? 'passwd' : 'group'} has no ` +
      `${kind} ${JSON.stringify(name.slice(0, 80))}; use a number, or set securityContext.runAsUser`,
  );
}

function numericId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= largestId ? id : undefined;
}

function findEntry(file: string, field: number, value: string): string[] | undefined {
  for (const line of file.split('\n')) {
    const fields = line.split(':');
    if (fields.length >= 3 && fields[field] === value) return fields;
  }
  return undefined;
}

function memberships(group: string, user: string): number[] {
  const gids: number[] = [];
  for (const line of group.split('\n')) {
    const fields = line.split(':');
    const gid = numericId(fields[2]);
    if (gid !== undefined && fields[3]?.split(',').includes(user)) gids.push(gid);
  }
  return gids.slice(0, 256);
}

export type Found = { kind: 'file' | 'directory'; path: string } | undefined;

/**
 * Finds `path` in a stack of overlayfs layers (top first) as the container will see it, without mounting it: whiteouts
 * hide, symbolic links are followed inside the stack only, never into the host's own tree. Opaque directories are not
 * honoured (Node reads no xattrs): a name hidden only by one may be found.
 */
export async function findInLayers(layers: readonly string[], path: string): Promise<Found> {
  let stack = [...layers];
  let parts = path.split('/').filter((p) => p !== '' && p !== '.');
  const walked: string[] = [];
  let links = 0;
  while (parts.length > 0) {
    const part = parts.shift() ?? '';
    if (part === '..') {
      // From the root again: the stack of the parent is not kept.
      parts = [...walked.slice(0, -1), ...parts];
      walked.length = 0;
      stack = [...layers];
      continue;
    }
    const below: string[] = [];
    let hit: { kind: 'file' | 'link'; path: string } | undefined;
    for (const dir of stack) {
      const candidate = join(dir, part);
      const stat = await lstat(candidate).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
        throw error;
      });
      if (!stat) continue;
      if (stat.isDirectory()) {
        below.push(candidate);
        continue;
      }
      const whiteout = stat.isCharacterDevice() && stat.rdev === 0;
      if (below.length === 0 && !whiteout) hit = { kind: stat.isSymbolicLink() ? 'link' : 'file', path: candidate };
      break;
    }
    if (hit?.kind === 'link') {
      if (++links > 40) return undefined;
      const target = await readlink(hit.path);
      const targetParts = target.split('/').filter((p) => p !== '' && p !== '.');
      parts = target.startsWith('/') ? [...targetParts, ...parts] : [...walked, ...targetParts, ...parts];
      walked.length = 0;
      stack = [...layers];
      continue;
    }
    if (hit) return parts.length === 0 ? { kind: 'file', path: hit.path } : undefined;
    if (below.length === 0) return undefined;
    stack = below;
    walked.push(part);
  }
  return { kind: 'directory', path: stack[0] ?? '' };
}

/** The first MiB of a regular file in the layers as text; empty when there is none. */
export async function readInLayers(layers: readonly string[], path: string): Promise<string> {
  const found = await findInLayers(layers, path);
  if (found?.kind !== 'file') return '';
  const stat = await lstat(found.path);
  if (!stat.isFile()) return '';
  await using file = await open(found.path, 'r');
  const buffer = Buffer.alloc(Math.min(stat.size, 2 ** 20));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  return buffer.toString('utf8', 0, bytesRead);
}
