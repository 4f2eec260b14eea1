import { EbbError } from '../../platform/errors.ts';
import type { Container } from '../../resources/index.ts';
import { quantityOf } from './quantity.ts';

export interface Limits {
  memoryBytes: number;
  /** Thousandths of a CPU; undefined is no quota. */
  cpuMillis: number | undefined;
  /** Its part of the processors when there are not enough of them for all: 1024 for each CPU asked for. */
  cpuShares: number;
  pids: number;
}

const defaultMemoryBytes = 512 * 2 ** 20;
const defaultPids = 1024;
const defaultShares = 1024;
/** The kernel's bounds of cpu.shares. */
const leastShares = 2;
const mostShares = 262_144;
/** Below this neither runc nor a process gets as far as its first instruction. */
const leastMemoryBytes = 6 * 2 ** 20;

/** What a container may use at most. Throws EbbError InvalidQuantity, MemoryLimitTooSmall. */
export function limitsOf(container: Container): Limits {
  const limits = container.resources?.limits ?? {};
  const memory = limits['memory'];
  const cpu = limits['cpu'];
  const memoryBytes =
    memory === undefined ? defaultMemoryBytes : Math.floor(quantityOf(memory, 'resources.limits.memory'));
  if (memoryBytes < leastMemoryBytes)
    throw new EbbError(
      'MemoryLimitTooSmall',
      422,
      `resources.limits.memory is ${memory}; nothing starts in less than 6Mi`,
    );
  // The kernel refuses quotas under 1 ms in its 100 ms period.
  const cpuMillis =
    cpu === undefined ? undefined : Math.max(10, Math.round(quantityOf(cpu, 'resources.limits.cpu') * 1000));
  return { memoryBytes, cpuMillis, cpuShares: sharesOf(container), pids: defaultPids };
}

/** By Kubernetes' rule: of the request, which is the limit where there is none. */
function sharesOf(container: Container): number {
  const { requests, limits } = container.resources ?? {};
  const field = requests?.['cpu'] === undefined ? 'limits' : 'requests';
  const cpu = requests?.['cpu'] ?? limits?.['cpu'];
  if (cpu === undefined) return defaultShares;
  const shares = Math.floor(quantityOf(cpu, `resources.${field}.cpu`) * 1024);
  return Math.max(leastShares, Math.min(mostShares, shares));
}
