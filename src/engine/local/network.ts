import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { EbbError, messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/logger.ts';
import { runOrThrow, type Spawner } from '../../platform/spawn.ts';
import { enableForwarding, type MountNamespace } from './namespace.ts';
import { formatAddress, formatSubnet, hostRange, type Subnet } from './subnet.ts';

/** A prepared network namespace with one address. `number` gives all its names. */
export interface NetSlot {
  number: number;
  host: string;
  /** Path inside the engine's mount namespace. */
  netns: string;
}

export interface NetworkOptions {
  id: string;
  subnet: Subnet;
  poolSize: number;
  /** TCP ports of the host that instances may call: the gateway's. */
  hostPorts: readonly number[];
  namespace: MountNamespace;
  spawner: Spawner;
  logger: Logger;
}

/**
 * Networks for instances: a bridge on which they can't see each other, NAT to the outside, and namespaces made ahead.
 * A namespace is used once: deleting it is the one sure way to forget what an instance left in it.
 */
export class Network {
  readonly #o: NetworkOptions;
  readonly #names: ReturnType<typeof networkNames>;
  readonly #used = new Set<number>();
  #pool: NetSlot[] = [];
  #next: number;
  #refill: Promise<void> | undefined;
  #closed = false;

  constructor(options: NetworkOptions) {
    this.#o = options;
    this.#names = networkNames(options.id);
    this.#next = hostRange(options.subnet).first;
  }

  /** Makes bridge and firewall (again), and deletes every namespace that is not in `keep`. */
  async open(keep: readonly number[]): Promise<void> {
    const { namespace, subnet, spawner, logger } = this.#o;
    if (await enableForwarding()) logger.info({}, 'switched on net.ipv4.ip_forward, which instances need');
    for (const number of keep) this.#used.add(number);
    const gateway = `${formatAddress(subnet.base + 1)}/${subnet.prefix}`;
    const mac = macOf(formatAddress(subnet.base + 1));
    await runOrThrow(spawner, 'sh', ['-ec', bridgeScript, 'sh', this.#names.bridge, gateway, mac]);
    await runOrThrow(spawner, 'nft', ['-f', '-'], { input: firewall(this.#names, subnet, this.#o.hostPorts) });
    const names = (await namespace.script('listing networks', 'ls /run/netns', [])).split('\n');
    const orphans = names
      .map((name) => Number(/^n(\d+)$/.exec(name)?.[1] ?? NaN))
      .filter((n) => Number.isInteger(n) && !this.#used.has(n));
    await this.#delete(orphans);
    this.#next = Math.max(hostRange(subnet).first, ...keep.map((n) => n + 1));
    this.#fill();
  }

  /** A prepared namespace; waits only when none is left. */
  async take(): Promise<NetSlot> {
    for (;;) {
      const slot = this.#pool.shift();
      this.#fill();
      if (slot) {
        this.#used.add(slot.number);
        return slot;
      }
      if (this.#closed) throw new EbbError('EngineStopped', 503, 'the engine is shutting down');
      const slots = await this.#make(1);
      this.#pool.push(...slots);
    }
  }

  /** For scripts that delete a sandbox: the host's end of the pair, which takes the other end with it. */
  vethOf(number: number): string {
    return `${this.#names.veth}${number}`;
  }

  slotOf(number: number): NetSlot {
    return { number, host: formatAddress(this.#o.subnet.base + number), netns: `/run/netns/n${number}` };
  }

  /** The slot's kernel objects are gone; its number may come round again. */
  forget(slot: NetSlot): void {
    this.#used.delete(slot.number);
  }

  /** Stops preparing; what is prepared stays for {@link open} of the next process to sweep up. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#refill;
  }

  /** Deletes everything: pool, bridge, firewall. */
  async destroy(): Promise<void> {
    await this.close();
    await this.#delete(this.#pool.map((slot) => slot.number));
    this.#pool = [];
    const { bridge, table } = this.#names;
    await this.#o.spawner.run('sh', ['-c', 'ip link del "$1"; nft delete table ip "$2"', 'sh', bridge, table]);
  }

  #fill(): void {
    if (this.#closed || this.#refill || this.#pool.length >= this.#o.poolSize) return;
    this.#refill = this.#make(this.#o.poolSize - this.#pool.length)
      .then((slots) => void this.#pool.push(...slots))
      .catch((error: unknown) => this.#o.logger.error({ error: messageOf(error) }, 'cannot prepare networks'))
      .finally(() => (this.#refill = undefined));
  }

  async #make(count: number): Promise<NetSlot[]> {
    const slots = Array.from({ length: count }, () => this.slotOf(this.#number()));
    const { namespace, subnet } = this.#o;
    const args = slots.flatMap((s) => [
      ...[`n${s.number}`, this.vethOf(s.number)],
      ...[`${s.host}/${subnet.prefix}`, macOf(s.host)],
    ]);
    try {
      await namespace.script('preparing a network', slotScript, [
        this.#names.bridge,
        formatAddress(subnet.base + 1),
        ...args,
      ]);
    } catch (error) {
      await this.#delete(slots.map((s) => s.number));
      throw error;
    }
    for (const slot of slots) this.#used.delete(slot.number);
    return slots;
  }

  /** Numbers go round, so that an address just given up is the last to be used again. */
  #number(): number {
    const { first, last } = hostRange(this.#o.subnet);
    const pooled = new Set(this.#pool.map((slot) => slot.number));
    for (let tried = first; tried <= last; tried++) {
      const number = this.#next;
      this.#next = number >= last ? first : number + 1;
      if (!this.#used.has(number) && !pooled.has(number)) {
        this.#used.add(number);
        return number;
      }
    }
    throw new EbbError('NoFreeAddress', 503, `all addresses of ${formatSubnet(this.#o.subnet)} are in use`);
  }

  async #delete(numbers: readonly number[]): Promise<void> {
    if (numbers.length === 0) return;
    const args = numbers.flatMap((n) => [`n${n}`, this.vethOf(n)]);
    await this.#o.namespace.run('sh', ['-c', deleteSlotsScript, 'sh', ...args]);
    for (const number of numbers) this.#used.delete(number);
  }
}

/** Names of the kernel's network objects of the Ebb `id`; an interface's name has at most 15 characters. */
export function networkNames(id: string): { bridge: string; veth: string; table: string } {
  return { bridge: `ebb${id}`, veth: `eb${id}-`, table: `ebb-${id}` };
}

/**
 * A locally administered hardware address that is a function of the IPv4 address. Whoever has one of them in a neighbour
 * table may keep it: an address that is given again, or a bridge whose ports come and go, does not change its hardware
 * address. (Left to itself, a bridge takes the lowest one of its ports: each instance that came or went could change it, and
 * what others then sent to the old one was lost until their neighbour entries expired, for seconds to minutes.)
 */
export function macOf(address: string): string {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  return ['02', '42', ...bytes].join(':');
}

const bridgeScript = `
ip link show "$1" >/dev/null 2>&1 || ip link add "$1" type bridge forward_delay 0
if [ -e "/proc/sys/net/ipv6/conf/$1" ]; then echo 1 > "/proc/sys/net/ipv6/conf/$1/disable_ipv6"; fi
ip link set "$1" address "$3"
ip addr replace "$2" dev "$1"
ip link set "$1" up`;

// One ip process a side and slot. IPv6 stays off on eth0: there is no IPv6 address to give, and apps that see a
// link-local one try it.
const slotScript = `
set -e
bridge=$1 gateway=$2; shift 2
while [ $# -gt 0 ]; do
  : > "/run/netns/$1"
  unshare --net="/run/netns/$1" true
  ip -batch - <<END
link add $2 type veth peer name eth0 address $4 netns $1
link set $2 master $bridge
link set dev $2 type bridge_slave isolated on
END
  if [ -e "/proc/sys/net/ipv6/conf/$2" ]; then echo 1 > "/proc/sys/net/ipv6/conf/$2/disable_ipv6"; fi
  ip link set "$2" up
  nsenter --net="/run/netns/$1" sh -ec '
    if [ -e /proc/sys/net/ipv6/conf/eth0 ]; then echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; fi
    echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range
    echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start
    ip -batch - <<END
link set lo up
addr add $1 dev eth0
link set eth0 up
route add default via $2
END
' sh "$3" "$gateway"
  shift 4
done`;

export const deleteSlotsScript = `
while [ $# -gt 0 ]; do
  ip link del "$2" 2>/dev/null
  umount -l "/run/netns/$1" 2>/dev/null
  rm -f "/run/netns/$1"
  shift 2
done
true`;

/** What instances may reach: the outside through NAT; not each other, not the host but `hostPorts`, not cloud metadata. */
export function firewall(
  names: { bridge: string; table: string },
  subnet: Subnet,
  hostPorts: readonly number[],
): string {
  const { bridge, table } = names;
  const allowPorts = hostPorts.length ? `tcp dport { ${hostPorts.join(', ')} } accept` : '';
  return `table ip ${table}
delete table ip ${table}
table ip ${table} {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname != "${bridge}" accept
    ct state established,related accept
    ip saddr != ${formatSubnet(subnet)} drop
    icmp type echo-request accept
    ${allowPorts}
    reject
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "${bridge}" ct state established,related accept
    oifname "${bridge}" drop
    iifname != "${bridge}" accept
    ip saddr != ${formatSubnet(subnet)} drop
    ip daddr 169.254.0.0/16 reject
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr ${formatSubnet(subnet)} oifname != "${bridge}" masquerade
  }
}
`;
}

/** Networks that this machine's interfaces are in. */
export function takenSubnets(): Subnet[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    (addresses ?? []).flatMap(({ family, cidr }) => {
      if (family !== 'IPv4' || !cidr) return [];
      const [address = '', prefix = '32'] = cidr.split('/');
      const number = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
      return [{ base: number, prefix: Number(prefix) }];
    }),
  );
}

/** The host's name servers that an instance can reach: not those on the host's loopback. */
export async function hostNameServers(): Promise<string[]> {
  for (const file of ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf']) {
    const text = await readFile(file, 'utf8').catch(() => ''); // absent on many machines
    const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1] ?? '');
    const reachable = servers.filter((s) => /^\d+(\.\d+){3}$/.test(s) && !s.startsWith('127.'));
    if (reachable.length > 0) return reachable.slice(0, 3);
  }
  return [];
}
