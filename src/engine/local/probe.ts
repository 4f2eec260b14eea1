import http from 'node:http';
import https from 'node:https';
import http2 from 'node:http2';
import net from 'node:net';
import type { Probe } from '../../resources/index.ts';

export interface ProbeTarget {
  host: string;
  port: number;
  /** Runs a command inside the instance; resolves to whether it exited with 0 in time. */
  exec(command: readonly string[], timeoutMs: number): Promise<boolean>;
}

/** One attempt of a probe by Kubernetes' rules. Resolves to whether it passed; never rejects. */
export function attemptProbe(probe: Probe, target: ProbeTarget, timeoutMs: number): Promise<boolean> {
  if (probe.exec) return target.exec(probe.exec.command ?? [], timeoutMs).catch(() => false);
  if (probe.httpGet) return tryHttp(probe.httpGet, target, timeoutMs);
  if (probe.grpc) return tryGrpc(probe.grpc, target, timeoutMs);
  return tryTcp(target.host, numericPort(probe.tcpSocket?.port, target), timeoutMs);
}

/** A named port can only be the container's one port. */
function numericPort(port: number | string | undefined, target: ProbeTarget): number {
  const number = Number(port);
  return Number.isInteger(number) && number > 0 && number < 65_536 ? number : target.port;
}

/** Whether something accepts connections there. */
export function tryTcp(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const done = (passed: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(passed);
    };
    const timer = setTimeout(done, timeoutMs, false);
    socket.once('connect', () => done(true)).once('error', () => done(false));
  });
}

type HttpGet = NonNullable<Probe['httpGet']>;

/** Passes on 200 to 399. Redirects are not followed; `host` only names the Host header: probes stay on the instance. */
function tryHttp(get: HttpGet, target: ProbeTarget, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const headers: http.OutgoingHttpHeaders = { 'user-agent': 'kube-probe/ebb', connection: 'close' };
    if (get.host) headers['host'] = get.host;
    for (const { name, value } of get.httpHeaders ?? []) headers[name.toLowerCase()] = value;
    const path = get.path ?? '/';
    const options = {
      host: target.host,
      port: numericPort(get.port, target),
      path: path.startsWith('/') ? path : `/${path}`,
      headers,
      agent: false as const,
    };
    const timer = setTimeout(() => done(false), timeoutMs);
    let request: http.ClientRequest | undefined;
    const done = (passed: boolean) => {
      clearTimeout(timer);
      request?.destroy();
      resolve(passed);
    };
    try {
      // An instance's certificate is its own matter, as for the kubelet.
      request =
        get.scheme === 'HTTPS' ? https.request({ ...options, rejectUnauthorized: false }) : http.request(options);
    } catch {
      done(false); // a header or path that HTTP does not allow never passes
      return;
    }
    request.once('response', ({ statusCode = 0 }) => done(statusCode >= 200 && statusCode < 400));
    request.on('error', () => done(false)).end();
  });
}

/** grpc.health.v1.Health/Check over h2c: passes when the answer's status is SERVING. */
function tryGrpc(grpc: NonNullable<Probe['grpc']>, target: ProbeTarget, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://${target.host}:${numericPort(grpc.port, target)}`);
    const done = (passed: boolean) => {
      clearTimeout(timer);
      session.destroy();
      resolve(passed);
    };
    const timer = setTimeout(done, timeoutMs, false);
    session.once('error', () => done(false));
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const service = Buffer.from((grpc.service ?? '').slice(0, 120));
    // HealthCheckRequest { string service = 1 } behind gRPC's five-byte frame head.
    const message = service.length ? Buffer.concat([Buffer.from([0x0a, service.length]), service]) : Buffer.alloc(0);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    const answer: Buffer[] = [];
    stream
      .on('data', (chunk: Buffer) => answer.length < 16 && answer.push(chunk))
      .on('error', () => done(false))
      // HealthCheckResponse { status = 1 } with SERVING = 1.
      .on('end', () =>
        done(
          Buffer.concat(answer)
            .subarray(5, 7)
            .equals(Buffer.from([0x08, 0x01])),
        ),
      )
      .end(Buffer.concat([head, message]));
  });
}
