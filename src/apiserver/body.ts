import { EbbError } from '../platform/errors.ts';
import { badRequest, unsupportedMediaType } from './status.ts';

/** Kubernetes' limit for a request body (`MaxRequestBodyBytes`). */
export const maxBodyBytes = 3 * 1024 * 1024;

/** Deeper than any object of the API; far below where recursive code runs out of stack. */
const maxDepth = 100;

/** Reads a whole body, at most {@link maxBodyBytes}. Throws EbbError RequestEntityTooLarge. */
export async function readBody(request: Request): Promise<Buffer> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes) throw tooLarge();
  if (!request.body) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size > maxBodyBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The media type of a body without its parameters, in lower case; JSON when none is named. */
export function mediaTypeOf(request: Request): string {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  return type === '' ? 'application/json' : type;
}

/** Reads an object of the API as JSON, YAML or, for the kinds that clients send so, protobuf. */
export async function readObject(request: Request): Promise<Record<string, unknown>> {
  const type = mediaTypeOf(request);
  const body = await readBody(request);
  const value = await parse(type, body);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRequest('the body must be one object of the API, as JSON or YAML');
  }
  return value as Record<string, unknown>;
}

/** Parses JSON, YAML or protobuf, as the media type says, with a bounded depth. */
export async function parse(type: string, body: Buffer): Promise<unknown> {
  if (type === 'application/yaml' || type === 'application/x-yaml' || type === 'text/yaml') {
    return checkDepth(await parseYaml(body));
  }
  if (type === 'application/vnd.kubernetes.protobuf') {
    // Rarely used, and a good deal of tables.
    const { decodeProtobuf } = await import('./protobuf/decode.ts');
    return checkDepth(decodeProtobuf(body));
  }
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw unsupportedMediaType(`content type "${type}" is not accepted: send application/json or application/yaml`);
  }
  return parseJson(body);
}

export function parseJson(body: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new EbbError('BadRequest', 400, `the body is not valid JSON: ${(cause as Error).message}`, { cause });
  }
  return checkDepth(value);
}

export async function parseYaml(body: Buffer): Promise<unknown> {
  const { parse: parseDocument } = await import('yaml');
  try {
    // Aliases can make a small document huge; Kubernetes manifests hardly use them.
    return parseDocument(body.toString('utf8'), {
      maxAliasCount: 100,
      prettyErrors: true,
      logLevel: 'error',
    }) as unknown;
  } catch (cause) {
    const [line = ''] = (cause as Error).message.split('\n');
    throw new EbbError('BadRequest', 400, `the body is not one valid YAML document: ${line}`, { cause });
  }
}

/** Returns the value; throws EbbError BadRequest when it is nested too deep for code that recurses into it. */
export function checkDepth(value: unknown): unknown {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) throw badRequest(`the body is nested more than ${maxDepth} levels deep`);
    level = level.flatMap((v) => (typeof v === 'object' && v !== null ? Object.values(v) : []));
  }
  return value;
}

function tooLarge(): EbbError {
  return new EbbError(
    'RequestEntityTooLarge',
    413,
    `the body is too large: at most ${maxBodyBytes} bytes are accepted`,
  );
}
