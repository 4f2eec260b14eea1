import type { Clock } from '../../platform/clock.ts';
import type { Container, Probe } from '../../resources/index.ts';
import { attemptProbe, tryTcp, type ProbeTarget } from './probe.ts';

export interface HealthEvents {
  ready(): void;
  /** Was ready and no longer answers its readiness probe. */
  notReady(): void;
  /** A startup or liveness probe gave up: the instance must be replaced. */
  dead(probe: 'startup' | 'liveness'): void;
}

/**
 * Follows the probes of one started instance until `signal` aborts. Attempts come at once after the start and close
 * together, whatever `periodSeconds` says: the period only spaces the probes of an instance that has been ready, so that
 * no request waits for it. Without a period that is Kubernetes' 10 s, but for the default TCP probe, which is not repeated:
 * the gateway sees by itself who stops answering.
 */
export function watchHealth(
  container: Container,
  target: ProbeTarget,
  clock: Clock,
  events: HealthEvents,
  signal: AbortSignal,
): void {
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = clock.after(ms, () => {
        signal.removeEventListener('abort', stop);
        resolve();
      });
      const stop = () => {
        timer[Symbol.dispose]();
        resolve();
      };
      signal.addEventListener('abort', stop, { once: true });
    });

  const run = async () => {
    const { startupProbe, readinessProbe = {}, livenessProbe } = container;
    if (startupProbe && !(await passesInTime(startupProbe))) {
      if (!signal.aborted) events.dead('startup');
      return;
    }
    await Promise.all([readiness(readinessProbe), livenessProbe ? liveness(livenessProbe) : undefined]);
  };

  const passesInTime = async (probe: Probe) => {
    await pause(seconds(probe.initialDelaySeconds, 0));
    const period = seconds(probe.periodSeconds || undefined, 10);
    const deadline = clock.monotonic() + period * (probe.failureThreshold ?? 3);
    return eventually(probe, deadline);
  };

  /** Tries until it passes; false at the deadline or when aborted. */
  const eventually = async (probe: Probe, deadline: number) => {
    const begun = clock.monotonic();
    const plainTcp = isPlainTcp(probe);
    let open = plainTcp || probe.exec !== undefined;
    while (!signal.aborted && clock.monotonic() < deadline) {
      // A connect is cheaper than a request and fails at once while nobody listens.
      open ||= await tryTcp(target.host, probePort(probe, target), 100);
      if (open && (await attemptProbe(probe, target, plainTcp ? 250 : timeoutOf(probe)))) return !signal.aborted;
      const waited = clock.monotonic() - begun;
      await pause(nextDelayMs(waited, probe.exec ? 50 : open && !plainTcp ? 10 : 2));
    }
    return false;
  };

  const readiness = async (probe: Probe) => {
    if (probe.initialDelaySeconds) await pause(seconds(probe.initialDelaySeconds, 0));
    const period = seconds(probe.periodSeconds || undefined, 10);
    for (;;) {
      if (!(await eventually(probe, Infinity))) return;
      for (let more = (probe.successThreshold ?? 1) - 1; more > 0 && !signal.aborted; more--) {
        await pause(period);
        if (!(await attemptProbe(probe, target, timeoutOf(probe)))) more = probe.successThreshold ?? 1;
      }
      if (signal.aborted) return;
      events.ready();
      if (!probe.periodSeconds && isPlainTcp(probe)) return;
      if (!(await failsRepeatedly(probe, period))) return;
      events.notReady();
    }
  };

  const liveness = async (probe: Probe) => {
    const period = seconds(probe.periodSeconds || undefined, 10);
    await pause(seconds(probe.initialDelaySeconds, 0) || period);
    if (await failsRepeatedly(probe, period)) events.dead('liveness');
  };

  /** True once `failureThreshold` attempts in a row have failed; false when aborted. */
  const failsRepeatedly = async (probe: Probe, period: number) => {
    for (let failures = 0; !signal.aborted;) {
      failures = (await attemptProbe(probe, target, timeoutOf(probe))) ? 0 : failures + 1;
      if (signal.aborted) return false;
      if (failures >= (probe.failureThreshold ?? 3)) return true;
      await pause(period);
    }
    return false;
  };

  // Every step above resolves; nothing in it rejects but a programming error, which must end the process loudly.
  void run();
}

/** Milliseconds between attempts: tight for the first half second, then less and less so. */
export function nextDelayMs(waitedMs: number, tightMs: number): number {
  if (waitedMs < 30 && tightMs <= 2) return 1;
  if (waitedMs < 500) return tightMs;
  return waitedMs < 10_000 ? 50 : 250;
}

function isPlainTcp(probe: Probe): boolean {
  return !probe.exec && !probe.httpGet && !probe.grpc;
}

function probePort(probe: Probe, target: ProbeTarget): number {
  const port = Number(probe.httpGet?.port ?? probe.grpc?.port ?? probe.tcpSocket?.port);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : target.port;
}

function timeoutOf(probe: Probe): number {
  return Math.min(seconds(probe.timeoutSeconds || undefined, 1), 600_000);
}

function seconds(value: number | undefined, otherwise: number): number {
  return (value ?? otherwise) * 1000;
}
