/**
 * The one base class of every error that a user may see.
 *
 * `code` is stable and machine-readable (CamelCase, as Kubernetes' `reason`), `status` is the HTTP status
 * that the API answers with, `message` is one sentence: what was wrong, with which value, and what to do.
 * The original error travels in `cause` and goes to the log, never to the user.
 */
export class EbbError extends Error {
  readonly code: string;
  readonly status: number;
  /** Further machine-readable facts (Kubernetes' `details`), for example `{ name, kind, causes }`. */
  readonly details: Record<string, unknown> | undefined;

  constructor(
    code: string,
    status: number,
    message: string,
    options: { cause?: unknown; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EbbError';
    this.code = code;
    this.status = status;
    this.details = options.details;
  }
}

/** Narrows an unknown thrown value to its message, for wrapping into an {@link EbbError}. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ENOENT`, `ECONNREFUSED` ...), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}
