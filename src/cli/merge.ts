/** Any JSON object. */
export type JsonObject = Record<string, unknown>;

/**
 * What `kubectl apply` keeps of the manifest that was applied last, so that the next one can tell what was taken out.
 * The same annotation, so that both can be used on one object.
 */
export const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';

/**
 * The JSON merge patch (RFC 7386) that brings `live` to what `wanted` says: sets what differs, removes what `previous`
 * had and `wanted` has not, and leaves alone whatever neither of them mentions. Arrays are replaced whole.
 */
export function threeWayPatch(previous: JsonObject, wanted: JsonObject, live: JsonObject): JsonObject {
  const patch: JsonObject = {};
  for (const key of Object.keys(previous)) {
    if (!(key in wanted) && key in live) patch[key] = null;
  }
  for (const [key, value] of Object.entries(wanted)) {
    const present = live[key];
    if (isObject(value) && isObject(present)) {
      const before = previous[key];
      const inner = threeWayPatch(isObject(before) ? before : {}, value, present);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!equal(value, present)) {
      patch[key] = value;
    }
  }
  return patch;
}

/** Deep equality of JSON values; the order of an object's fields does not count. */
export function equal(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, i) => equal(value, b[i]));
  if (isObject(a) && isObject(b)) {
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => key in b && equal(a[key], b[key]));
  }
  return a === b;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
