import { EbbError } from '../platform/errors.ts';

/** The exit codes of `ebb`: part of its interface, so that scripts can trust them. Shown by `ebb --help`. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  notReady: 5,
  interrupted: 130,
} as const;

export const exitCodeHelp = `Exit codes:
  0  done                         3  no such object
  1  failed, the message says why 4  Ebb cannot be reached: it does not run, or not there
  2  wrong use of the command     5  not ready, or not in time
                                130  interrupted by Ctrl-C`;

/** Codes of errors that the CLI itself raises; those of the API come as they are. */
export const codes = {
  usage: 'Usage',
  unreachable: 'Unreachable',
  notReady: 'NotReady',
  timeout: 'Timeout',
  interrupted: 'Interrupted',
} as const;

/** Wrong use of a command: one sentence, exit code 2. */
export function usageError(message: string): EbbError {
  return new EbbError(codes.usage, 400, message);
}

/** Which exit code an error ends the command with. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof EbbError)) return exitCodes.failed;
  switch (error.code) {
    case codes.usage:
    case 'InvalidOption':
      return exitCodes.usage;
    case codes.unreachable:
      return exitCodes.unreachable;
    case codes.notReady:
    case codes.timeout:
      return exitCodes.notReady;
    case codes.interrupted:
      return exitCodes.interrupted;
    default:
      return error.status === 404 ? exitCodes.notFound : exitCodes.failed;
  }
}
