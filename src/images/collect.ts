import type { Digest } from './images.ts';

/** A name under which an image is kept. */
export interface Name {
  name: string;
  manifest: Digest;
}

/**
 * Where the search for what is reachable starts. Tags keep their images for as long as they stand. A name by digest
 * (`repository@sha256:...`) only remembers a pull: it falls when nothing else wants its image and nobody has asked for
 * it since `before`.
 */
export function planRoots(known: {
  names: readonly Name[];
  inUse: readonly Digest[];
  /** When each blob was last asked for, wall-clock milliseconds. */
  usedAt: ReadonlyMap<Digest, number>;
  before: number;
}): { roots: Set<Digest>; untag: string[] } {
  const roots = new Set(known.inUse);
  for (const { name, manifest } of known.names) if (!name.includes('@')) roots.add(manifest);
  const untag: string[] = [];
  for (const { name, manifest } of known.names) {
    if (!name.includes('@') || roots.has(manifest)) continue;
    if ((known.usedAt.get(manifest) ?? 0) >= known.before) roots.add(manifest);
    else untag.push(name);
  }
  return { roots, untag };
}

/** What nothing reachable contains and nobody has asked for since `before`. */
export function planGarbage(known: {
  reachable: ReadonlySet<Digest>;
  usedAt: ReadonlyMap<Digest, number>;
  before: number;
}): Digest[] {
  return [...known.usedAt].flatMap(([digest, at]) =>
    known.reachable.has(digest) || at >= known.before ? [] : [digest],
  );
}
