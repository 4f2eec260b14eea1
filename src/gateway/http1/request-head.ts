import { HeadError, hasForbiddenBytes, listOf, readFields, type FieldNames, type Fields } from './fields.ts';

/** A request's head as the gateway needs it. */
export interface RequestHead {
  method: string;
  /** Origin-form (`/path?query`) or `*`: what goes on to the instance. */
  target: string;
  minor: 0 | 1;
  /** The host as sent, port and all; '' where HTTP/1.0 sent none. */
  authority: string;
  /** Lower case, without port and trailing dot: the key of the route table. */
  host: string;
  fields: Fields;
  body: RequestBody;
  /** The client wants to keep the connection after this exchange. */
  keepAlive: boolean;
  /** The protocol that the client asks to switch to, if the gateway lets it through. */
  upgrade: string | undefined;
  expectContinue: boolean;
}

export type RequestBody = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' };

const noBody: RequestBody = { kind: 'none' };
const chunkedBody: RequestBody = { kind: 'chunked' };

/**
 * Reads a request head strictly (RFC 9112 sections 2, 3, 6). `text` is latin-1 and ends with the last field's CRLF, without the
 * empty line.
 */
export function readRequestHead(names: FieldNames, text: string): RequestHead | HeadError {
  if (hasForbiddenBytes(text)) return new HeadError(400, 'the head has a control character or a bare line feed');
  const lineEnd = text.indexOf('\r\n');
  const line = readRequestLine(text, lineEnd);
  if (line instanceof HeadError) return line;
  let fields = readFields(names, text, lineEnd + 2);
  if (fields instanceof HeadError) return fields;

  let keepAlive = line.minor === 1;
  let wantsUpgrade = false;
  if (fields.connection !== '') {
    const named = listOf(fields.connection);
    if (named.length > 32) return new HeadError(400, 'the Connection field names too many fields');
    if (named.includes('close')) keepAlive = false;
    else if (named.includes('keep-alive')) keepAlive = true;
    wantsUpgrade = named.includes('upgrade');
    if (named.some((name) => !ownConnectionOptions.has(name))) {
      const again = readFields(names, text, lineEnd + 2, new Set(named));
      if (again instanceof HeadError) return again;
      fields = again;
    }
  }

  const place = placeOf(line, fields);
  if (place instanceof HeadError) return place;
  const body = bodyOf(line.minor, fields);
  if (body instanceof HeadError) return body;
  const expectContinue = fields.expect !== '' && line.minor === 1;
  if (expectContinue && fields.expect.toLowerCase() !== '100-continue') {
    return new HeadError(417, 'the Expect field asks for something other than 100-continue');
  }
  return {
    method: line.method,
    target: place.target,
    minor: line.minor,
    authority: place.authority,
    host: place.host,
    fields,
    body,
    keepAlive,
    upgrade: wantsUpgrade && body.kind === 'none' && line.minor === 1 ? upgradeOf(fields.upgrade) : undefined,
    expectContinue,
  };
}

/** Connection options that name no field which would otherwise be passed on. */
const ownConnectionOptions = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings']);

interface RequestLine {
  method: string;
  target: string;
  minor: 0 | 1;
}

const methodToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/;
const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']);

function readRequestLine(text: string, end: number): RequestLine | HeadError {
  const first = text.indexOf(' ');
  const second = text.indexOf(' ', first + 1);
  if (first <= 0 || second < 0 || second >= end || second === first + 1) {
    return new HeadError(400, 'the request line is not "METHOD TARGET HTTP/1.1"');
  }
  const method = text.slice(0, first);
  if (!knownMethods.has(method) && !methodToken.test(method)) {
    return new HeadError(400, 'the request method is not a token');
  }
  const version = text.slice(second + 1, end);
  if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0') {
    return /^HTTP\/\d\.\d$/.test(version)
      ? new HeadError(505, `${version} is not spoken here; HTTP/1.1 is`)
      : new HeadError(400, 'the request line is not "METHOD TARGET HTTP/1.1"');
  }
  const target = text.slice(first + 1, second);
  if (target.includes('\t')) return new HeadError(400, 'the request target has a tab');
  if (method === 'CONNECT' || method === 'TRACE') return new HeadError(405, `${method} is not allowed`);
  return { method, target, minor: version === 'HTTP/1.1' ? 1 : 0 };
}

interface Place {
  target: string;
  authority: string;
  host: string;
}

function placeOf(line: RequestLine, fields: Fields): Place | HeadError {
  if (fields.hosts > 1) return new HeadError(400, 'more than one Host field');
  if (fields.hosts === 0 && line.minor === 1) return new HeadError(400, 'no Host field');
  let { target } = line;
  let authority = fields.host;
  if (target.charCodeAt(0) !== 47 /* / */) {
    if (target === '*') {
      if (line.method !== 'OPTIONS') return new HeadError(400, 'the target * goes with OPTIONS only');
    } else {
      // Absolute-form: its authority counts, whatever the Host field says (RFC 9112 section 3.2.2).
      const absolute = /^https?:\/\/([^/?#]+)(.*)$/is.exec(target);
      const [, where, path] = absolute ?? [];
      if (where === undefined || path === undefined) return new HeadError(400, 'the request target has no known form');
      authority = where;
      target = path === '' ? '/' : path.startsWith('/') ? path : `/${path}`;
      if (path === '' && line.method === 'OPTIONS') target = '*';
    }
  }
  const host = hostOf(authority);
  if (host === undefined) return new HeadError(400, 'the Host field is not a host name');
  return { target, authority, host };
}

const plainHost = /^[a-z0-9._-]*$/;
const regName = /^[a-z0-9._~!$&'()*+,;=%-]*$/;
const ipLiteral = /^\[[0-9a-f:.]+\](?::\d{0,5})?$/;

/** The host of `host[:port]`, lower case, without a trailing dot; undefined if it is malformed. */
export function hostOf(authority: string): string | undefined {
  if (authority.length > 300) return undefined;
  let host = authority.toLowerCase();
  if (host.startsWith('[')) return ipLiteral.test(host) ? host.slice(0, host.indexOf(']') + 1) : undefined;
  const colon = host.indexOf(':');
  if (colon >= 0) {
    if (!/^\d{0,5}$/.test(host.slice(colon + 1))) return undefined;
    host = host.slice(0, colon);
  }
  if (host.endsWith('.')) host = host.slice(0, -1);
  return plainHost.test(host) || regName.test(host) ? host : undefined;
}

/** RFC 9112 section 6.3, but every doubtful case is an error. */
function bodyOf(minor: 0 | 1, fields: Fields): RequestBody | HeadError {
  if (fields.transferEncodings > 0) {
    if (fields.contentLengths > 0) return new HeadError(400, 'both Content-Length and Transfer-Encoding');
    if (minor === 0) return new HeadError(400, 'Transfer-Encoding in HTTP/1.0');
    if (fields.transferEncodings > 1) return new HeadError(400, 'more than one Transfer-Encoding');
    const coding = fields.transferEncoding.toLowerCase();
    if (coding === 'chunked') return chunkedBody;
    return /^[a-z-]+\s*,\s*chunked$/.test(coding)
      ? new HeadError(501, 'a transfer coding other than chunked')
      : new HeadError(400, 'a Transfer-Encoding that is not chunked');
  }
  if (fields.contentLengths === 0) return noBody;
  if (fields.contentLengths > 1) return new HeadError(400, 'more than one Content-Length');
  const bytes = lengthOf(fields.contentLength);
  if (bytes === undefined) return new HeadError(400, 'Content-Length is not a number');
  return bytes === 0 ? emptyBody : { kind: 'length', bytes };
}

const emptyBody: RequestBody = { kind: 'length', bytes: 0 };

/** Digits only, at most fifteen: no sign, no list, nothing that loses precision. */
export function lengthOf(value: string): number | undefined {
  return /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

function upgradeOf(value: string): string | undefined {
  const protocols = listOf(value);
  const [protocol] = protocols;
  if (protocol === undefined || protocols.length > 1 || !/^[\w.+-]+(\/[\w.+-]+)?$/.test(protocol)) return undefined;
  // h2c would take the connection out of the gateway's sight; without the upgrade the client just stays on HTTP/1.1.
  return protocol.toLowerCase().startsWith('h2') ? undefined : protocol;
}
