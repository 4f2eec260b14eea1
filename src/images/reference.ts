import { EbbError } from '../platform/errors.ts';
import { isDigest } from './digest.ts';
import type { Digest } from './images.ts';

/** The registry that is never contacted: images made here live under it. */
export const localRegistry = 'ebb.local';

/** A parsed image reference with all defaults filled in. With a digest, the tag is only for people. */
export interface Reference {
  /** `docker.io`, `localhost:5000`, `[::1]:5000`. */
  registry: string;
  /** `library/nginx`: without the registry. */
  repository: string;
  tag?: string;
  digest?: Digest;
}

const component = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]{0,61}[a-zA-Z0-9])';
const registryPattern = new RegExp(
  `^(?:${component}(?:\\.${component})*\\.?|\\[[0-9a-fA-F:]{2,45}\\])(?::([0-9]{1,5}))?$`,
);
const pathPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
/** Registry and repository together, as the distribution project limits them. */
const longestName = 255;
const longestReference = 512;

/**
 * Parses what people type (`nginx`, `me/app:3`, `localhost:5000/x@sha256:...`) as Docker does: no registry means
 * `docker.io`, one path component there means `library/`, neither tag nor digest means `:latest`.
 * Grammar: distribution `reference/regexp.go`. Throws EbbError InvalidReference that says which part is wrong.
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string) =>
    new EbbError('InvalidReference', 400, `image reference "${text.slice(0, 120)}" is not valid: ${why}`);
  if (text.length === 0) throw refuse('it is empty');
  if (text.length > longestReference) throw refuse(`it has more than ${longestReference} characters`);

  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) {
    throw refuse('after "@" there must be "sha256:" and 64 lower-case hex digits');
  }
  const { rest, tag } = splitTag(at < 0 ? text : text.slice(0, at));
  if (tag !== undefined && !tagPattern.test(tag)) {
    throw refuse(
      `the tag "${tag.slice(0, 140)}" must be 1 to 128 letters, digits, "_", "." or "-" and not start with "." or "-"`,
    );
  }
  if (digest === undefined && /^[0-9a-f]{64}$/.test(rest)) {
    throw refuse('64 hex digits alone could be an image ID; write "repository@sha256:..."');
  }

  const { registry, repository } = splitRegistry(rest);
  const port = registryPattern.exec(registry)?.[1];
  if (!registryPattern.test(registry) || Number(port ?? 1) > 65_535 || port === '0') {
    throw refuse(`"${registry}" is not a registry host`);
  }
  for (const part of repository.split('/')) {
    if (pathPattern.test(part)) continue;
    if (part === '') throw refuse('the repository has an empty path component');
    if (/[A-Z]/.test(part)) throw refuse(`the repository "${repository}" must be lower case`);
    throw refuse(`"${part}" must be lower-case letters and digits, separated by ".", "_", "__" or "-"`);
  }
  if (registry.length + 1 + repository.length > longestName) {
    throw refuse(`registry and repository have more than ${longestName} characters`);
  }
  return {
    registry,
    repository,
    ...(tag !== undefined ? { tag } : digest === undefined ? { tag: 'latest' } : {}),
    ...(digest !== undefined ? { digest } : {}),
  };
}

/** `registry/repository`. */
export function repositoryName(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`;
}

/** The one name under which an image is kept: by digest when there is one, else by tag. */
export function canonicalName(reference: Reference): string {
  const name = repositoryName(reference);
  return reference.digest ? `${name}@${reference.digest}` : `${name}:${reference.tag ?? 'latest'}`;
}

/** The whole reference with tag and digest; `parseReference` gives the same back. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  return `${repositoryName(reference)}${tag}${reference.digest ? `@${reference.digest}` : ''}`;
}

function splitTag(name: string): { rest: string; tag?: string } {
  const colon = name.lastIndexOf(':');
  // A colon before the last slash, or inside brackets, belongs to a port or an IPv6 address.
  if (colon < 0 || name.indexOf('/', colon) >= 0 || name.indexOf(']', colon) >= 0) return { rest: name };
  return { rest: name.slice(0, colon), tag: name.slice(colon + 1) };
}

function splitRegistry(name: string): { registry: string; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = first === 'localhost' || /[.:A-Z[]/.test(first);
  let registry = slash >= 0 && isHost ? first : 'docker.io';
  let repository = registry === first && isHost ? name.slice(slash + 1) : name;
  if (registry === 'index.docker.io') registry = 'docker.io';
  if (registry === 'docker.io' && !repository.includes('/')) repository = `library/${repository}`;
  return { registry, repository };
}
