import { applyPatch, type Operation } from 'rfc6902';
import { EbbError } from '../platform/errors.ts';
import type { Kind } from '../resources/api.ts';
import { checkDepth, maxBodyBytes, mediaTypeOf, parse, parseJson, readBody } from './body.ts';
import { badRequest, unsupportedMediaType } from './status.ts';
import { mergeStrategic } from './strategic-merge.ts';

/** Makes the patched object from the current one, which is left as it is. */
export type Patch = (current: unknown) => unknown;

const jsonPatch = 'application/json-patch+json';
const mergePatch = 'application/merge-patch+json';
const strategicPatch = 'application/strategic-merge-patch+json';
const applyType = 'application/apply-patch+yaml';
const maxOperations = 10_000;

export const patchTypesOf = (kind: Kind) =>
  kind.strategicMerge ? [jsonPatch, mergePatch, strategicPatch, applyType] : [jsonPatch, mergePatch, applyType];

/** What a server-side apply wants, as YAML or JSON; undefined for patches of other types. */
export async function readApply(request: Request): Promise<Record<string, unknown> | undefined> {
  if (mediaTypeOf(request) !== applyType) return undefined;
  const body = await readBody(request);
  // Clients send JSON under the name of YAML, whose parser is far slower.
  const config = body[0] === 0x7b ? parseJson(body) : await parse('application/yaml', body);
  if (!isObject(config)) throw badRequest('what is applied must be an object');
  return config;
}

/**
 * Reads the patch of a request: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396) and, for core kinds, Kubernetes'
 * strategic merge patch. Throws EbbError UnsupportedMediaType for others; server-side apply is {@link readApply}'s.
 */
export async function readPatch(request: Request, kind: Kind): Promise<Patch> {
  const type = mediaTypeOf(request);
  if (type === applyType) throw unsupportedMediaType('the status of an object cannot be applied: patch it');
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
  return type === mergePatch
    ? (current) => merge(current, patch)
    : (current) => mergeStrategic(kind.schema, current, patch);
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const own = (object: Record<string, unknown>, key: string) => (Object.hasOwn(object, key) ? object[key] : undefined);

/** Plain assignment, safe for `__proto__`. */
function set(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}
