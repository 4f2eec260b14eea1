/**
 * Header fields of an HTTP/1.1 message (RFC 9112 section 5), read strictly: what two parsers could read differently is
 * refused, so that nobody smuggles a request past the gateway.
 */

/** What the gateway must know of a field. `pass` goes on as it came; every other role is taken out and re-made. */
export type FieldRole =
  | 'pass'
  | 'drop'
  | 'host'
  | 'content-length'
  | 'transfer-encoding'
  | 'connection'
  | 'keep-alive'
  | 'upgrade'
  | 'te'
  | 'expect'
  | 'forwarded'
  | 'x-forwarded-for'
  | 'x-forwarded-proto'
  | 'x-forwarded-host'
  | 'traceparent'
  | 'x-request-id'
  | 'accept'
  | 'user-agent'
  | 'k-network-probe'
  | 'k-network-hash';

const hopByHop: [string, FieldRole][] = [
  ['content-length', 'content-length'],
  ['transfer-encoding', 'transfer-encoding'],
  ['connection', 'connection'],
  ['keep-alive', 'keep-alive'],
  ['upgrade', 'upgrade'],
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
];

/** Fields of a request that the gateway reads, replaces or drops. */
export const requestRoles: ReadonlyMap<string, FieldRole> = new Map([
  ...hopByHop,
  ['host', 'host'],
  ['te', 'te'],
  ['expect', 'expect'],
  ['proxy-authorization', 'drop'],
  // With `Upgrade: h2c` it would turn the connection to HTTP/2 behind the gateway's back.
  ['http2-settings', 'drop'],
  ['forwarded', 'forwarded'],
  ['x-forwarded-for', 'x-forwarded-for'],
  ['x-forwarded-proto', 'x-forwarded-proto'],
  ['x-forwarded-host', 'x-forwarded-host'],
  ['traceparent', 'traceparent'],
  ['x-request-id', 'x-request-id'],
  ['accept', 'accept'],
  ['user-agent', 'user-agent'],
  ['k-network-probe', 'k-network-probe'],
  ['k-network-hash', 'k-network-hash'],
]);

export const responseRoles: ReadonlyMap<string, FieldRole> = new Map(hopByHop);

/** Why a head was refused: the status to answer a client with, and a sentence. */
export class HeadError {
  readonly status: number;
  readonly message: string;
  constructor(status: number, message: string) {
    this.status = status;
    this.message = message;
  }
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const maxNameLength = 256;
const maxKnownNames = 2048;

/** Remembers the spellings of field names that it saw, so that the common ones are checked and lower-cased once. */
export class FieldNames {
  readonly #roles: ReadonlyMap<string, FieldRole>;
  readonly #known = new Map<string, FieldRole>();

  constructor(roles: ReadonlyMap<string, FieldRole>) {
    this.#roles = roles;
  }

  /** The role of a name as it was spelt; undefined if it is no token. */
  role(name: string): FieldRole | undefined {
    return this.#known.get(name) ?? this.#learn(name);
  }

  #learn(name: string): FieldRole | undefined {
    if (name.length > maxNameLength || !token.test(name)) return undefined;
    const lower = name.toLowerCase();
    let role = this.#roles.get(lower) ?? 'pass';
    // CGI-style servers read `X_Forwarded_For` as `X-Forwarded-For`: no back door for fields that are ours to set.
    if (role === 'pass' && name.includes('_') && this.#roles.has(lower.replaceAll('_', '-'))) role = 'drop';
    // Clearing is crude but bounded: real traffic has a few dozen spellings, only an attacker has thousands.
    if (this.#known.size >= maxKnownNames) this.#known.clear();
    // A copy: V8's slices would keep the whole head of the first request with this name alive.
    this.#known.set(Buffer.from(name, 'latin1').toString('latin1'), role);
    return role;
  }
}

/** One message's fields: those with a role by name, the rest as text. */
export class Fields {
  /** `pass` lines with their line ends, in their order, byte for byte. */
  passed = '';
  count = 0;
  hosts = 0;
  host = '';
  contentLengths = 0;
  contentLength = '';
  transferEncodings = 0;
  transferEncoding = '';
  /** Lower case, joined by commas. */
  connection = '';
  keepAlive = '';
  upgrade = '';
  te = '';
  expect = '';
  forwarded = '';
  xForwardedFor = '';
  xForwardedProto = '';
  xForwardedHost = '';
  traceparent = '';
  requestId = '';
  accept = '';
  userAgent = '';
  probe = '';
  probeHash = '';
}

/** Everything but visible characters, space, tab, obs-text and complete line ends. */
const forbidden = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;

/** True if `text` holds a control character, a bare CR or a bare LF. */
export function hasForbiddenBytes(text: string): boolean {
  return forbidden.test(text);
}

export const maxFields = 100;

/**
 * Reads field lines from `text` (each ended by CRLF, no empty line; already free of forbidden bytes), beginning at `from`.
 * Names in `without` (lower case) are taken out too: those that the Connection field named.
 */
export function readFields(
  names: FieldNames,
  text: string,
  from: number,
  without?: ReadonlySet<string>,
): Fields | HeadError {
  const fields = new Fields();
  // Neighbouring lines that pass are copied as one slice: most heads are two or three slices.
  let runStart = from;
  let at = from;
  while (at < text.length) {
    const end = text.indexOf('\r\n', at);
    const colon = text.indexOf(':', at);
    if (colon <= at || colon > end) {
      const first = text.charCodeAt(at);
      return first === 32 || first === 9
        ? new HeadError(400, 'a header field is folded over two lines')
        : new HeadError(400, 'a header line has no name and colon');
    }
    if (++fields.count > maxFields) return new HeadError(431, `more than ${maxFields} header fields`);
    const name = text.slice(at, colon);
    const role = names.role(name);
    if (role === undefined) return new HeadError(400, 'a header field name has a character that is not allowed');
    const next = end + 2;
    if (role === 'pass') {
      if (without?.has(name.toLowerCase())) {
        if (runStart < at) fields.passed += text.slice(runStart, at);
        runStart = next;
      }
    } else if (role === 'accept') {
      fields.accept = valueOf(text, colon + 1, end);
    } else if (role === 'user-agent') {
      fields.userAgent = valueOf(text, colon + 1, end);
    } else {
      if (runStart < at) fields.passed += text.slice(runStart, at);
      runStart = next;
      take(fields, role, valueOf(text, colon + 1, end));
    }
    at = next;
  }
  if (runStart < at) fields.passed += text.slice(runStart, at);
  return fields;
}

function take(fields: Fields, role: FieldRole, value: string): void {
  switch (role) {
    case 'host':
      fields.hosts++;
      fields.host = value;
      return;
    case 'content-length':
      fields.contentLengths++;
      fields.contentLength = value;
      return;
    case 'transfer-encoding':
      fields.transferEncodings++;
      fields.transferEncoding = value;
      return;
    case 'connection':
      fields.connection = joined(fields.connection, value.toLowerCase());
      return;
    case 'keep-alive':
      fields.keepAlive = value;
      return;
    case 'upgrade':
      fields.upgrade = joined(fields.upgrade, value);
      return;
    case 'te':
      fields.te = joined(fields.te, value);
      return;
    case 'expect':
      fields.expect = joined(fields.expect, value);
      return;
    case 'forwarded':
      fields.forwarded = joined(fields.forwarded, value);
      return;
    case 'x-forwarded-for':
      fields.xForwardedFor = joined(fields.xForwardedFor, value);
      return;
    case 'x-forwarded-proto':
      fields.xForwardedProto = value;
      return;
    case 'x-forwarded-host':
      fields.xForwardedHost = value;
      return;
    case 'traceparent':
      fields.traceparent = joined(fields.traceparent, value);
      return;
    case 'x-request-id':
      fields.requestId = value;
      return;
    case 'k-network-probe':
      fields.probe = value;
      return;
    case 'k-network-hash':
      fields.probeHash = value;
      return;
    case 'accept':
    case 'user-agent':
    case 'pass':
    case 'drop':
      return;
  }
}

function joined(before: string, value: string): string {
  return before === '' ? value : `${before}, ${value}`;
}

/** The value between two indexes without its optional white space (RFC 9110 section 5.5). */
function valueOf(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 32 || code === 9;
}

/** Members of a comma-separated list (RFC 9110 section 5.6.1), trimmed, without empty ones. */
export function listOf(value: string): string[] {
  if (value === '') return [];
  return value
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '');
}
