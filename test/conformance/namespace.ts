import { execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';

const mark = 'EBB_CONFORMANCE_INSIDE';

export function isInside(): boolean {
  return process.env[mark] === '1';
}

/**
 * Runs this program again in a network namespace of its own, in which port 80 is free and nothing leads outside. The
 * kernel takes it away with the last process in it. Resolves with its exit code.
 */
export async function enterNetwork(args: string[]): Promise<number> {
  const child = spawn('unshare', ['--net', process.execPath, ...args], {
    stdio: 'inherit',
    env: { ...process.env, [mark]: '1' },
  });
  // Ctrl-C reaches the whole process group: wait until what was started inside has been put away.
  const wait = () => undefined;
  const pass = () => void child.kill('SIGTERM');
  process.on('SIGINT', wait).on('SIGTERM', pass);
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } finally {
    process.off('SIGINT', wait).off('SIGTERM', pass);
  }
}

/**
 * Makes loopback work, and every name resolve to 127.0.0.1: the machine's name server has its address here, but not its
 * knowledge. Call it inside of {@link enterNetwork} only.
 */
export async function openNetwork(): Promise<Disposable> {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const address = nameServer();
  if (!address.startsWith('127.')) execFileSync('ip', ['addr', 'add', address, 'dev', 'lo']);
  const server = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  server.on('message', (query, from) => {
    const answer = answerTo(query);
    if (answer) server.send(answer, from.port, from.address);
  });
  server.bind(53, address);
  await once(server, 'listening');
  return { [Symbol.dispose]: () => void server.close() };
}

/** That of resolv.conf(5), whose default is the local machine. */
function nameServer(): string {
  const address = /^\s*nameserver\s+(\S+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8'))?.[1] ?? '127.0.0.1';
  return isIP(address) === 0 ? '127.0.0.1' : address;
}

/** 127.0.0.1 for a question of type A, nothing for any other (RFC 1035, section 4). Undefined for what is no question. */
export function answerTo(query: Buffer): Buffer | undefined {
  if (query.length < 12 || query.readUInt16BE(4) !== 1) return undefined;
  let end = 12;
  while (end < query.length && query[end] !== 0) end += (query[end] ?? 0) + 1;
  end += 5;
  if (end > query.length) return undefined;
  const isA = query.readUInt16BE(end - 4) === 1;
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(0x8580, 2); // answer, authoritative, recursion asked for and there
  head.writeUInt16BE(isA ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  // The name by pointer to the question; A, IN, 60 s, four bytes.
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  return Buffer.concat([head, query.subarray(12, end), ...(isA ? [record] : [])]);
}
