import type { RequestHead } from './request-head.ts';
import type { ResponseHead } from './response-head.ts';

/** What an instance is told about where a request came from. */
export interface Origin {
  /** The client's address, without port. */
  address: string;
  proto: 'http' | 'https';
}

/**
 * The request head for the instance: end-to-end fields as they came; `X-Forwarded-*` and `Forwarded` (RFC 7239) appended;
 * `traceparent` (W3C Trace Context) and `X-Request-Id` passed on or made; framing made anew.
 */
export function requestHeadText(
  head: RequestHead,
  origin: Origin,
  ids: { traceparent: string; requestId: string },
): string {
  const { fields } = head;
  return (
    `${head.method} ${head.target} HTTP/1.1\r\nHost: ${head.authority}\r\n${fields.passed}` +
    forwardedText(head, origin) +
    `traceparent: ${ids.traceparent}\r\nX-Request-Id: ${ids.requestId}\r\n` +
    (fields.te === '' || !/(?:^|,)\s*trailers\b/i.test(fields.te) ? '' : 'TE: trailers\r\n') +
    (head.expectContinue ? 'Expect: 100-continue\r\n' : '') +
    (head.upgrade === undefined ? '' : `Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`) +
    requestFraming(head) +
    '\r\n'
  );
}

function requestFraming(head: RequestHead): string {
  switch (head.body.kind) {
    case 'none':
      return '';
    case 'length':
      return `Content-Length: ${head.body.bytes}\r\n`;
    case 'chunked':
      return 'Transfer-Encoding: chunked\r\n';
  }
}

function forwardedText(head: RequestHead, origin: Origin): string {
  const { fields } = head;
  const proto = /^https?$/i.test(fields.xForwardedProto) ? fields.xForwardedProto : origin.proto;
  const host = fields.xForwardedHost === '' ? head.authority : fields.xForwardedHost;
  const chain = fields.xForwardedFor === '' ? origin.address : `${fields.xForwardedFor}, ${origin.address}`;
  const own = `for=${node(origin.address)};host=${quoted(host)};proto=${proto}`;
  let forwarded = own;
  if (fields.forwarded !== '') forwarded = `${fields.forwarded}, ${own}`;
  else if (fields.xForwardedFor !== '') forwarded = fromChain(chain, host, proto);
  return (
    `X-Forwarded-For: ${chain}\r\nX-Forwarded-Proto: ${proto}\r\nX-Forwarded-Host: ${host}\r\n` +
    `Forwarded: ${forwarded}\r\n`
  );
}

/** `for=a;host=h;proto=p, for=b`: Knative's way to build the field from `X-Forwarded-*`. */
function fromChain(chain: string, host: string, proto: string): string {
  return chain
    .split(',')
    .map((hop) => `for=${node(hop.trim())}`)
    .map((hop, i) => (i === 0 ? `${hop};host=${quoted(host)};proto=${proto}` : hop))
    .join(', ');
}

function node(address: string): string {
  if (address.includes(':') && !address.includes('[') && !address.includes('.')) return `"[${address}]"`;
  return quoted(address);
}

const plainToken = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function quoted(value: string): string {
  return plainToken.test(value) ? value : `"${value.replace(/[\\"]/g, '\\$&')}"`;
}

/** How the body goes on to the client. `chunk` wraps what has no framing of its own; `close` ends with the connection. */
export type ClientFraming = 'none' | 'length' | 'chunked' | 'chunk' | 'close';

/** How a response body must be framed for a client of this HTTP/1 minor version. */
export function clientFraming(head: ResponseHead, clientMinor: 0 | 1): ClientFraming {
  switch (head.body.kind) {
    case 'none':
      return 'none';
    case 'length':
      return 'length';
    case 'chunked':
      return clientMinor === 1 ? 'chunked' : 'close';
    case 'close':
      return clientMinor === 1 ? 'chunk' : 'close';
  }
}

/** The response head for the client; `extra` is further complete field lines. */
export function responseHeadText(
  head: ResponseHead,
  framing: ClientFraming,
  connection: 'default' | 'close' | 'keep-alive',
  extra: string,
): string {
  return (
    `HTTP/1.1 ${head.status} ${head.reason}\r\n${head.fields.passed}${extra}` +
    responseFraming(head, framing) +
    (connection === 'default' ? '' : connection === 'close' ? 'Connection: close\r\n' : 'Connection: keep-alive\r\n') +
    '\r\n'
  );
}

function responseFraming(head: ResponseHead, framing: ClientFraming): string {
  switch (framing) {
    case 'length':
      return `Content-Length: ${head.fields.contentLength}\r\n`;
    case 'chunked':
    case 'chunk':
      return 'Transfer-Encoding: chunked\r\n';
    case 'close':
      return '';
    case 'none':
      // HEAD and 304 tell of the body that a GET would have; 1xx and 204 must not (RFC 9110 section 8.6).
      if (head.status < 200 || head.status === 204) return '';
      if (head.fields.contentLengths > 0) return `Content-Length: ${head.fields.contentLength}\r\n`;
      return head.fields.transferEncodings > 0 ? 'Transfer-Encoding: chunked\r\n' : '';
  }
}
