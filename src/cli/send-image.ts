import type { Readable } from 'node:stream';
import { EbbError } from '../platform/errors.ts';
import { type Client, interrupted, type Query } from './client.ts';
import type { Progress } from './progress.ts';

/** What came of a folder or an archive that was sent. */
export interface SentImage {
  /** `ebb.local/<namespace>/<name>@sha256:...` */
  reference: string;
  /** What the builder took the folder for: `node`, `static`, `python` ... */
  detected: string | undefined;
  sizeBytes: number | undefined;
}

/**
 * Sends a tar stream to be built or imported, shows the server's progress, and returns the image that it became.
 * Throws EbbError with the server's code and message when it cannot be built.
 */
export async function sendImage(
  client: Client,
  path: string,
  query: Query,
  body: Readable,
  options: { progress: Progress; signal: AbortSignal },
): Promise<SentImage> {
  const lines = client.lines('POST', path, {
    query,
    body,
    contentType: 'application/x-tar',
    signal: options.signal,
  });
  for await (const line of lines) {
    const event = line as {
      type?: string;
      message?: string;
      code?: string;
      reference?: string;
      detected?: string;
      sizeBytes?: number;
    };
    switch (event.type) {
      case 'progress':
        if (event.message) options.progress.update(event.message);
        break;
      case 'done':
        if (!event.reference) throw new EbbError('BadAnswer', 502, 'the API named no image after the build');
        return { reference: event.reference, detected: event.detected, sizeBytes: event.sizeBytes };
      case 'error':
        throw new EbbError(event.code ?? 'BuildFailed', 422, event.message ?? 'the build failed without a reason');
      default: // a newer server may say more
    }
  }
  if (options.signal.aborted) throw interrupted();
  throw new EbbError('BadAnswer', 502, 'the API ended its answer before the image was done: see the control log');
}
