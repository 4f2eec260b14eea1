import { readFile } from 'node:fs/promises';

/** A TCP socket that waits for connections. */
export interface Listener {
  address: string;
  port: number;
  loopback: boolean;
}

/** The listening sockets in the text of /proc/net/tcp or tcp6 (proc_pid_net(5); addresses are little-endian words). */
export function parseListeners(text: string): Listener[] {
  const listeners: Listener[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /.exec(line);
    if (!match?.[1] || !match[2]) continue;
    const bytes = Buffer.from(match[1], 'hex').swap32();
    const address =
      bytes.length === 4 ? bytes.join('.') : bytes.every((b) => b === 0) ? '[::]' : `[${formatIpv6(bytes)}]`;
    const mapped = bytes.length === 16 && bytes.subarray(0, 12).equals(mappedPrefix);
    const loopback = bytes.length === 4 ? bytes[0] === 127 : address === '[::1]' || (mapped && bytes[12] === 127);
    listeners.push({ address, port: parseInt(match[2], 16), loopback });
  }
  return listeners;
}

const mappedPrefix = Buffer.from('00000000000000000000ffff', 'hex');

function formatIpv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return groups.join(':').replace(/(^|:)0(?::0)+(:|$)/, '::');
}

/** Why nobody answers on `port` though the process lives; undefined when the sockets tell nothing. Pure. */
export function diagnose(listeners: readonly Listener[], port: number): string | undefined {
  const onPort = listeners.filter((l) => l.port === port);
  if (onPort.some((l) => !l.loopback)) return undefined;
  const [local] = onPort;
  if (local) return `listens on ${local.address}:${port} only; it must listen on 0.0.0.0:$PORT`;
  const elsewhere = listeners.find((l) => !l.loopback) ?? listeners[0];
  if (!elsewhere) return undefined;
  const where = elsewhere.loopback ? `${elsewhere.address}:${elsewhere.port}` : `port ${elsewhere.port}`;
  return `listens on ${where}, but PORT is ${port}`;
}

/** The listening sockets in the network namespace of process `pid`; empty when it is gone. */
export async function listenersOf(pid: number): Promise<Listener[]> {
  const texts = await Promise.all(
    ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => '')),
  );
  return texts.flatMap(parseListeners);
}
