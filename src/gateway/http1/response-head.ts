import { HeadError, hasForbiddenBytes, listOf, readFields, type FieldNames, type Fields } from './fields.ts';
import { lengthOf } from './request-head.ts';

/** An instance's response head as the gateway needs it. */
export interface ResponseHead {
  status: number;
  reason: string;
  fields: Fields;
  body: ResponseBody;
  /** The instance will take another request on this connection. */
  reusable: boolean;
  /** Seconds from `Keep-Alive: timeout=N`, when the instance says so. */
  keepAliveSeconds: number | undefined;
}

/** `close`: everything until the instance closes the connection. */
export type ResponseBody =
  { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' } | { kind: 'close' };

const statusLine = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: ([^\r]*))?\r\n/;

/**
 * Reads a response head as strictly as a request's: a lying backend must not be able to put words into the mouth of another.
 * `text` is latin-1 and ends with the last field's CRLF, without the empty line.
 */
export function readResponseHead(names: FieldNames, text: string, method: string): ResponseHead | HeadError {
  if (hasForbiddenBytes(text)) return new HeadError(502, 'the head has a control character or a bare line feed');
  const line = statusLine.exec(text);
  if (!line) return new HeadError(502, 'the status line is malformed');
  const minor = line[1] === '1' ? 1 : 0;
  const status = Number(line[2]);
  let fields = readFields(names, text, line[0].length);
  if (fields instanceof HeadError) return fields;
  let reusable = minor === 1;
  if (fields.connection !== '') {
    const named = listOf(fields.connection);
    if (named.includes('close')) reusable = false;
    else if (minor === 0) reusable = named.includes('keep-alive');
    if (named.some((name) => name !== 'close' && name !== 'keep-alive' && name !== 'upgrade')) {
      const again = readFields(names, text, line[0].length, new Set(named.slice(0, 32)));
      if (again instanceof HeadError) return again;
      fields = again;
    }
  }
  const body = bodyOf(minor, status, method, fields);
  if (body instanceof HeadError) return body;
  const timeout = fields.keepAlive === '' ? null : /timeout=(\d{1,6})/i.exec(fields.keepAlive);
  return {
    status,
    reason: line[3] ?? '',
    fields,
    body,
    reusable: reusable && body.kind !== 'close',
    keepAliveSeconds: timeout ? Number(timeout[1]) : undefined,
  };
}

function bodyOf(minor: 0 | 1, status: number, method: string, fields: Fields): ResponseBody | HeadError {
  if (fields.transferEncodings > 0) {
    if (fields.contentLengths > 0) return new HeadError(502, 'both Content-Length and Transfer-Encoding');
    if (minor === 0) return new HeadError(502, 'Transfer-Encoding in HTTP/1.0');
    if (fields.transferEncodings > 1 || fields.transferEncoding.toLowerCase() !== 'chunked') {
      return new HeadError(502, 'a Transfer-Encoding that is not chunked');
    }
  }
  let bytes: number | undefined;
  if (fields.contentLengths > 0) {
    if (fields.contentLengths > 1) return new HeadError(502, 'more than one Content-Length');
    bytes = lengthOf(fields.contentLength);
    if (bytes === undefined) return new HeadError(502, 'Content-Length is not a number');
  }
  // RFC 9112 section 6.3, rules 1 and 2.
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' };
  if (fields.transferEncodings > 0) return { kind: 'chunked' };
  if (bytes !== undefined) return { kind: 'length', bytes };
  return { kind: 'close' };
}
