/** metav1.Time: RFC 3339 in UTC with whole seconds, `2026-01-31T12:00:00Z`. */
export function timestamp(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** metav1.MicroTime: RFC 3339 in UTC with microseconds. */
export function microTimestamp(nowMs: number): string {
  return new Date(nowMs).toISOString().replace('Z', '000Z');
}
