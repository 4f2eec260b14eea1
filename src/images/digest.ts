import { createHash } from 'node:crypto';
import type { Digest } from './images.ts';

const pattern = /^sha256:[0-9a-f]{64}$/;

/** Whether `value` is a digest in the one form Ebb accepts: `sha256:` and 64 lower-case hex digits. */
export function isDigest(value: unknown): value is Digest {
  return typeof value === 'string' && pattern.test(value);
}

/** The sha256 of `bytes`. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The 64 hex digits of a digest. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}
