import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { EbbError, errnoOf } from '../platform/errors.ts';
import { interrupted } from './client.ts';
import type { InvokeOptions } from './commands/invoke.ts';
import type { Context } from './context.ts';
import { codes, usageError } from './exit.ts';
import { conditionOf, paths, type Service } from './kube.ts';
import { checkName } from './names.ts';
import { gatewayEndpoint, type GatewayStatus } from './gateway-address.ts';
import { wasCold } from './server-timing.ts';

/** `ebb invoke NAME [PATH]`. Needs no DNS: connects to the gateway itself and names the service in the Host header. */
export async function invoke(context: Context, name: string, path: string, options: InvokeOptions): Promise<void> {
  if (!path.startsWith('/')) throw usageError(`path "${path.slice(0, 80)}" must start with /`);
  const body = await bodyOf(context, options.data);
  const namespace = await context.namespace();
  using client = await context.client();
  const [service, status] = await Promise.all([
    client.get<Service>(paths.services(namespace, checkName(name)), { signal: context.signal }),
    client.get<{ gateway?: GatewayStatus }>(paths.status, { signal: context.signal }),
  ]);
  const url = service.status?.url;
  if (!url) {
    const why = conditionOf(service)?.message ?? 'it has no URL yet';
    throw new EbbError(codes.notReady, 503, `${name} cannot be called: ${why}`);
  }

  const begin = context.clock.monotonic();
  const response = await send(context, { ...gatewayEndpoint(status.gateway), url: new URL(url), path, body }, options);
  const firstByteMs = context.clock.monotonic() - begin;
  if (options.include) context.out(headText(response));
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      context.stdout.write(chunk);
      await written(context);
    }
  } catch (cause) {
    if (context.signal.aborted) throw interrupted();
    throw new EbbError('AnswerCut', 502, `${name} ended its answer early, after ${size} bytes`, { cause });
  }
  if (context.stdout.isTTY && size > 0) context.out('\n');
  if (options.timing) {
    const start = wasCold(response.headers['server-timing']) ? 'cold start' : 'warm';
    const total = context.clock.monotonic() - begin;
    context.err(`${start}: ${firstByteMs.toFixed(1)} ms to the first byte, ${total.toFixed(1)} ms in all\n`);
  }
  const code = response.statusCode ?? 0;
  if (code >= 400)
    throw new EbbError('HttpStatus', 500, `${name} answered ${code} ${response.statusMessage ?? ''}`.trim());
}

interface Target {
  host: string;
  port: number;
  url: URL;
  path: string;
  body: Readable | string | undefined;
}

function send(context: Context, target: Target, options: InvokeOptions): Promise<IncomingMessage> {
  const method = (options.request ?? (target.body === undefined ? 'GET' : 'POST')).toUpperCase();
  if (!/^[A-Z]{1,32}$/.test(method)) throw usageError(`"${method}" is not an HTTP method`);
  const headers: Record<string, string | string[]> = { host: target.url.host, 'user-agent': 'ebb', accept: '*/*' };
  for (const [name, value] of options.header ?? []) {
    const key = name.toLowerCase();
    const given = options.header?.filter(([n]) => n.toLowerCase() === key).map(([, v]) => v) ?? [];
    headers[key] = given.length > 1 ? given : value;
  }
  if (typeof target.body === 'string') headers['content-length'] = String(Buffer.byteLength(target.body));
  return new Promise((resolvePromise, reject) => {
    const { host, port, path } = target;
    const request = httpRequest({ host, port, path, method, headers, agent: false, signal: context.signal });
    request.setTimeout(options.timeout, () =>
      request.destroy(new EbbError(codes.timeout, 504, `no answer in ${options.timeout / 1000} s`)),
    );
    request.on('response', resolvePromise);
    request.on('error', (cause) => {
      if (context.signal.aborted) return reject(interrupted());
      if (cause instanceof EbbError) return reject(cause);
      const message = `cannot reach the gateway at ${host}:${port} (${errnoOf(cause) ?? cause.message}): see "ebb status"`;
      reject(new EbbError(codes.unreachable, 503, message, { cause }));
    });
    if (target.body instanceof Readable) {
      target.body.on('error', (error) => request.destroy(error));
      target.body.pipe(request);
    } else {
      request.end(target.body);
    }
  });
}

async function bodyOf(context: Context, data: string | undefined): Promise<Readable | string | undefined> {
  if (data === undefined || !data.startsWith('@')) return data;
  if (data === '@-') return context.stdin;
  const file = resolve(context.cwd, data.slice(1));
  try {
    await readFile(file, { flag: 'r' });
  } catch (cause) {
    throw usageError(`cannot read ${file}: ${errnoOf(cause) ?? 'unknown error'}`);
  }
  return createReadStream(file);
}

function headText(response: IncomingMessage): string {
  const lines = [`HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage ?? ''}`.trimEnd()];
  for (let i = 0; i + 1 < response.rawHeaders.length; i += 2) {
    lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
  }
  return `${lines.join('\n')}\n\n`;
}

/** Back-pressure: a slow terminal or pipe must not fill the memory. */
async function written(context: Context): Promise<void> {
  const stream = context.stdout as { writableNeedDrain?: boolean; once?(event: 'drain', fn: () => void): void };
  if (stream.writableNeedDrain && stream.once) await new Promise<void>((ok) => stream.once?.('drain', ok));
}
