import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { readIfThere, writeSecretFile } from './secret-file.ts';

export interface Pki {
  /** PEM of the authority, for kubeconfigs. */
  ca: string;
  cert: string;
  key: string;
}

const dayMs = 86_400_000;
const authorityDays = 3650;
const serverDays = 365;
/** Replaced when less than this is left. */
const renewDays = 30;

/** Names that every API server answers to; clients inside a cluster use the last ones. */
const standardHosts = ['127.0.0.1', '::1', 'localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'];

/**
 * The certificate authority and server certificate in `dir` (ca.crt, ca.key, server.crt, server.key; mode 0600), made
 * when missing, damaged, soon at their end, or without one of `hosts`. The authority is kept while it is good, so that
 * kubeconfigs stay valid when the server's certificate changes.
 */
export async function ensurePki(options: { dir: string; hosts?: readonly string[]; clock: Clock }): Promise<Pki> {
  const { dir, clock } = options;
  const hosts = [...new Set([...standardHosts, ...(options.hosts ?? [])])].filter((h) => h !== '0.0.0.0' && h !== '::');
  const until = clock.now() + renewDays * dayMs;
  const authority = (await load(dir, 'ca', until)) ?? (await makeAuthority(dir, clock.now()));
  const present = await load(dir, 'server', until);
  const fits =
    present &&
    new X509Certificate(present.cert).verify(new X509Certificate(authority.cert).publicKey) &&
    hosts.every((host) => namesHost(new X509Certificate(present.cert), host));
  const server = fits ? present : await makeServer(dir, authority, hosts, clock.now());
  return { ca: authority.cert, ...server };
}

interface Pair {
  cert: string;
  key: string;
}

async function load(dir: string, name: string, validUntilMs: number): Promise<Pair | undefined> {
  const [cert, key] = await Promise.all([readIfThere(join(dir, `${name}.crt`)), readIfThere(join(dir, `${name}.key`))]);
  if (cert === undefined || key === undefined) return undefined;
  try {
    const parsed = new X509Certificate(cert);
    const good = parsed.validToDate.getTime() > validUntilMs && parsed.checkPrivateKey(createPrivateKey(key));
    return good ? { cert, key } : undefined;
  } catch {
    return undefined; // damaged: made anew
  }
}

async function makeAuthority(dir: string, nowMs: number): Promise<Pair> {
  // The name is unique: clients cache authorities by name, and two of one name confuse them.
  const name = `ebb-ca-${randomBytes(4).toString('hex')}`;
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: name }], {
    ...validity(nowMs, authorityDays),
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true },
    ],
  });
  return save(dir, 'ca', { cert: made.cert, key: made.private });
}

async function makeServer(dir: string, authority: Pair, hosts: readonly string[], nowMs: number): Promise<Pair> {
  const { generate } = await import('selfsigned');
  const made = await generate([{ name: 'commonName', value: 'ebb-api' }], {
    ...validity(nowMs, serverDays),
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    ca: authority,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: hosts.map((host) => (isIP(host) ? { type: 7, ip: host } : { type: 2, value: host })),
      },
    ],
  });
  return save(dir, 'server', { cert: made.cert, key: made.private });
}

async function save(dir: string, name: string, pair: Pair): Promise<Pair> {
  await writeSecretFile(join(dir, `${name}.key`), pair.key);
  await writeSecretFile(join(dir, `${name}.crt`), pair.cert);
  return pair;
}

/** Valid since an hour ago: clocks differ. */
function validity(nowMs: number, days: number) {
  return { notBeforeDate: new Date(nowMs - 3_600_000), notAfterDate: new Date(nowMs + days * dayMs) };
}

function namesHost(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined;
}
