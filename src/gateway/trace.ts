import { randomFillSync } from 'node:crypto';

/** Random hexadecimal ids, made from blocks of randomness: one call to the kernel's generator for many requests. */
export class TraceIds {
  readonly #block = Buffer.alloc(6144);
  #hex = '';
  #at = 0;

  /** `digits` hexadecimal digits (at most 64). */
  next(digits: number): string {
    if (this.#at + digits > this.#hex.length) {
      randomFillSync(this.#block);
      this.#hex = this.#block.toString('hex');
      this.#at = 0;
    }
    const id = this.#hex.slice(this.#at, this.#at + digits);
    this.#at += digits;
    return id;
  }
}

/** W3C Trace Context level 1, section 3.2: version 00, ids not all zero. */
const valid = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/**
 * The client's `traceparent` if it is valid, else a new one that is not sampled (nobody recorded a parent). The request id
 * is the client's if it is short and plain, else the trace id, so that logs and traces find each other.
 */
export function traceOf(
  ids: TraceIds,
  traceparent: string,
  requestId: string,
): { traceparent: string; requestId: string } {
  const parent = traceparent !== '' && valid.test(traceparent) ? traceparent : `00-${ids.next(32)}-${ids.next(16)}-00`;
  return {
    traceparent: parent,
    requestId: requestId !== '' && /^[\w.:-]{1,128}$/.test(requestId) ? requestId : parent.slice(3, 35),
  };
}
