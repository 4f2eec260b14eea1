import type { RequestHead } from './http1/request-head.ts';

/** Why the gateway itself answered, in the `X-Ebb-Reason` field and the access log. Stable. */
export type Reason =
  | 'BadRequest'
  | 'HeadTooLarge'
  | 'SlowHead'
  | 'UnknownHost'
  | 'UnknownRevision'
  | 'RevisionFailed'
  | 'RevisionGone'
  | 'QueueFull'
  | 'QueueTimeout'
  | 'RequestTimeout'
  | 'InstanceUnreachable'
  | 'InstanceLost'
  | 'BadResponse'
  | 'ShuttingDown';

/** An answer of the gateway's own: one sentence for people, one word for programs. */
export interface Answer {
  status: number;
  reason: Reason;
  message: string;
  /** Seconds, for `Retry-After`. */
  retryAfter?: number;
}

const phrases: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** The whole answer as text: short plain text, or JSON where the client asks for it. */
export function answerText(
  answer: Answer,
  request: RequestHead | undefined,
  requestId: string,
  connection: 'close' | 'keep-alive',
): string {
  const json = request !== undefined && /application\/(?:[\w.+-]+\+)?json/i.test(request.fields.accept);
  const body = json
    ? `${JSON.stringify({ reason: answer.reason, message: answer.message, requestId })}\n`
    : `${answer.message}\n`;
  return plainAnswer(
    answer.status,
    body,
    (json ? 'Content-Type: application/json\r\n' : 'Content-Type: text/plain; charset=utf-8\r\n') +
      (answer.retryAfter === undefined ? '' : `Retry-After: ${answer.retryAfter}\r\n`) +
      (answer.status === 405 ? 'Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n' : '') +
      `X-Ebb-Reason: ${answer.reason}\r\nX-Request-Id: ${requestId}\r\n`,
    request?.method === 'HEAD',
    connection,
  );
}

/** A complete response; `fields` is complete field lines. The text is to be written as UTF-8. */
export function plainAnswer(
  status: number,
  body: string,
  fields: string,
  isHead: boolean,
  connection: 'close' | 'keep-alive',
): string {
  return (
    `HTTP/1.1 ${status} ${phrases[status] ?? 'Error'}\r\n${fields}Cache-Control: no-store\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: ${connection}\r\n\r\n${isHead ? '' : body}`
  );
}
