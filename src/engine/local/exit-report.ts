import { constants } from 'node:os';
import type { ExitReport } from '../engine.ts';
import { formatBytes } from '../../platform/quantity.ts';

/** Why the engine itself ended an instance; undefined when the instance ended by itself. */
export type EndCause = { reason: 'Stopped' } | { reason: 'StartTimeout' | 'LivenessFailed' | 'Lost'; message: string };

/** Puts the end of an instance into words. `code` is undefined when nobody saw it. Pure. */
export function describeExit(end: {
  code: number | undefined;
  oomKills: number;
  memoryBytes: number;
  cause: EndCause | undefined;
}): Pick<ExitReport, 'code' | 'reason' | 'message'> {
  const code = end.code ?? 137;
  if (end.cause?.reason === 'Stopped') return { code, reason: 'Stopped', message: 'stopped' };
  if (end.oomKills > 0 && code !== 0)
    return {
      code,
      reason: 'OOMKilled',
      message: `killed: used more than its ${formatBytes(end.memoryBytes)} of memory`,
    };
  if (end.cause) return { code, reason: end.cause.reason, message: end.cause.message };
  if (end.code === undefined)
    return { code, reason: 'Lost', message: 'ended unobserved: its supervisor (conmon) was not running any more' };
  if (code === 0) return { code, reason: 'Completed', message: 'exited with code 0; a service must keep running' };
  const signal = code > 128 ? signalName(code - 128) : undefined;
  if (signal) return { code, reason: 'Error', message: `killed by ${signal} (exit code ${code})` };
  const hint = code === 127 ? ': command not found' : code === 126 ? ': command cannot be executed' : '';
  return { code, reason: 'Error', message: `exited with code ${code}${hint}` };
}

function signalName(number: number): string | undefined {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
}
