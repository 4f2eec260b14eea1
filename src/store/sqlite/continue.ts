import { EbbError } from '../../platform/errors.ts';

/** Where the next page of a list begins: the snapshot's version and the last (namespace, name) already given. */
interface Continue {
  version: number;
  after: [string, string];
}

export function encodeContinue(version: number, after: [string, string]): string {
  return Buffer.from(JSON.stringify([version, ...after])).toString('base64url');
}

/** Throws EbbError BadRequest when the token is not one that {@link encodeContinue} made. */
export function decodeContinue(token: string): Continue {
  try {
    const parts = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[];
    const [version, namespace, name] = parts;
    if (Number.isSafeInteger(version) && typeof namespace === 'string' && typeof name === 'string') {
      return { version: version as number, after: [namespace, name] };
    }
  } catch {
    // Falls through: not JSON, so not a token of ours.
  }
  throw new EbbError('BadRequest', 400, 'continue key is not valid: begin the list again without it');
}
