import { applyPatch, type Operation } from 'rfc6902';
import { EbbError } from '../platform/errors.ts';
import type { Kind } from '../resources/api.ts';
import { checkDepth, maxBodyBytes, mediaTypeOf, parseJson, readBody } from './body.ts';
import { badRequest, unsupportedMediaType } from './status.ts';

/** Makes the patched object from the current one, which is left as it is. */
export type Patch = (current: unknown) => unknown;

const jsonPatch = 'application/json-patch+json';
const mergePatch = 'application/merge-patch+json';
const strategicPatch = 'application/strategic-merge-patch+json';
const applyTypes = ['application/apply-patch+yaml', 'application/apply-patch+cbor'];
const maxOperations = 10_000;

export const patchTypesOf = (kind: Kind) =>
  kind.strategicMerge ? [jsonPatch, mergePatch, strategicPatch] : [jsonPatch, mergePatch];

/**
 * Reads the patch of a request: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396) and, for core kinds, Kubernetes'
 * strategic merge patch. Throws EbbError UnsupportedMediaType for others, server-side apply among them.
 */
export async function readPatch(request: Request, kind: Kind): Promise<Patch> {
  const type = mediaTypeOf(request);
  if (applyTypes.includes(type)) {
    throw unsupportedMediaType('server-side apply is not supported: use kubectl apply without --server-side');
  }
  const accepted = patchTypesOf(kind);
  if (!accepted.includes(type)) {
    throw unsupportedMediaType(
      `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
    );
  }
  const patch = parseJson(await readBody(request));
  if (type === jsonPatch) return (current) => applyJsonPatch(current, patch);
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) {
    throw badRequest('a merge patch must be an object');
  }
  return type === mergePatch ? (current) => merge(current, patch) : (current) => mergeStrategic(current, patch, '');
}

function applyJsonPatch(current: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('a JSON patch must be an array of operations');
  if (patch.length > maxOperations) throw badRequest(`a JSON patch may have at most ${maxOperations} operations`);
  const document = structuredClone(current);
  let copied = 0;
  for (const [i, operation] of patch.entries()) {
    if (!isOperation(operation)) throw badRequest(`operation ${i} of the JSON patch is not one of RFC 6902`);
    if (operation.path === '') throw invalidPatch(i, 'the whole document cannot be replaced');
    if (operation.op === 'copy') copied += JSON.stringify(document).length;
    // Each copy may double the document: a few bytes could ask for gigabytes.
    if (copied > 10 * maxBodyBytes) throw invalidPatch(i, 'too much is copied');
    let problem: Error | null | undefined;
    try {
      [problem] = applyPatch(document, [operation]);
    } catch (cause) {
      problem = cause as Error; // a pointer that is none
    }
    if (problem) {
      const what =
        problem.name === 'TestError'
          ? `the value at ${operation.path} is another`
          : `${operation.path}: ${problem.message || problem.name}`;
      throw invalidPatch(i, what);
    }
  }
  return checkDepth(document);
}

function isOperation(value: unknown): value is Operation {
  if (typeof value !== 'object' || value === null) return false;
  const { op, path, from } = value as Record<string, unknown>;
  if (typeof path !== 'string' || !/^(\/.*)?$/s.test(path)) return false;
  if (op === 'move' || op === 'copy') return typeof from === 'string' && /^\/.*$/s.test(from);
  return op === 'remove' || ((op === 'add' || op === 'replace' || op === 'test') && Object.hasOwn(value, 'value'));
}

function invalidPatch(index: number, why: string): EbbError {
  return new EbbError('Invalid', 422, `the server rejected our request: operation ${index} of the JSON patch: ${why}`);
}

/** RFC 7396. */
export function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const out = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else set(out, key, merge(own(out, key), value));
  }
  return out;
}

/**
 * Strategic merge as far as the core kinds here need it: maps merge, `finalizers` and `ownerReferences` merge by value
 * and uid, all other lists are replaced; the directives `$patch` and `$deleteFromPrimitiveList` are obeyed.
 */
function mergeStrategic(target: unknown, patch: unknown, path: string): unknown {
  if (Array.isArray(patch)) return mergeList(Array.isArray(target) ? target : [], patch, path);
  if (!isObject(patch)) return patch;
  if (patch['$patch'] === 'replace') return withoutDirectives(patch);
  const out = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    const deletes = /^\$deleteFromPrimitiveList\/(.+)$/.exec(key)?.[1];
    if (deletes !== undefined && Array.isArray(value)) {
      const list = own(out, deletes);
      if (Array.isArray(list))
        set(
          out,
          deletes,
          list.filter((item) => !value.includes(item)),
        );
    } else if (key.startsWith('$')) continue;
    else if (value === null || (isObject(value) && value['$patch'] === 'delete')) delete out[key];
    else set(out, key, mergeStrategic(own(out, key), value, `${path}.${key}`));
  }
  return out;
}

function mergeList(target: unknown[], patch: unknown[], path: string): unknown[] {
  if (path === '.metadata.finalizers') return [...new Set([...target, ...patch])];
  if (path !== '.metadata.ownerReferences') return patch;
  const byUid = new Map(target.filter(isObject).map((o) => [o['uid'], o]));
  for (const item of patch.filter(isObject)) {
    if (item['$patch'] === 'delete') byUid.delete(item['uid']);
    else byUid.set(item['uid'], { ...byUid.get(item['uid']), ...item });
  }
  return [...byUid.values()];
}

function withoutDirectives(patch: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$')));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const own = (object: Record<string, unknown>, key: string) => (Object.hasOwn(object, key) ? object[key] : undefined);

/** Plain assignment, safe for `__proto__`. */
function set(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}
