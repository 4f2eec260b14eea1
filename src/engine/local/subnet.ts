import { createHash } from 'node:crypto';
import { EbbError } from '../../platform/errors.ts';

/** An IPv4 network: its first address as a number, and its prefix length. */
export interface Subnet {
  base: number;
  prefix: number;
}

/** Of `10.70.16.0/20`. Throws EbbError InvalidSubnet unless it is a private network of /16 to /24. */
export function parseSubnet(text: string): Subnet {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const bytes = match?.slice(1, 5).map(Number) ?? [];
  const prefix = Number(match?.[5]);
  const base = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const usable = prefix >= 16 && prefix <= 24 && bytes.every((b) => b <= 255) && base % 2 ** (32 - prefix) === 0;
  if (!match || !usable)
    throw new EbbError('InvalidSubnet', 400, `subnet ${JSON.stringify(text)} is not a network such as 10.70.16.0/20`);
  return { base, prefix };
}

export function formatSubnet({ base, prefix }: Subnet): string {
  return `${formatAddress(base)}/${prefix}`;
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

export function overlaps(a: Subnet, b: Subnet): boolean {
  const size = 2 ** (32 - Math.min(a.prefix, b.prefix));
  return Math.floor(a.base / size) === Math.floor(b.base / size);
}

/**
 * A /20 of 10.64.0.0/10 by the hash of `id`, the next one free of `taken` when that is in use. 1024 of them: several
 * Ebbs on one machine seldom meet, and step aside when they do.
 */
export function pickSubnet(id: string, taken: readonly Subnet[]): Subnet {
  const slots = 1024;
  const first = createHash('sha256').update(id).digest().readUInt32BE(0) % slots;
  for (let i = 0; i < slots; i++) {
    const subnet = { base: 10 * 2 ** 24 + 64 * 2 ** 16 + ((first + i) % slots) * 4096, prefix: 20 };
    if (!taken.some((other) => overlaps(subnet, other))) return subnet;
  }
  throw new EbbError('NoFreeSubnet', 500, 'every network of 10.64.0.0/10 is in use on this machine; set a subnet');
}

/** Host numbers that instances may have: after the gateway's .1, before the broadcast address. */
export function hostRange({ prefix }: Subnet): { first: number; last: number } {
  return { first: 2, last: 2 ** (32 - prefix) - 2 };
}
