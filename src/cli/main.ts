import { systemClock } from '../platform/clock.ts';
import { exitCodes } from './exit.ts';
import { run } from './run.ts';

const interrupt = new AbortController();
let interrupts = 0;
const onSignal = () => {
  // The first one lets the command end cleanly; whoever presses again wants out now.
  if (++interrupts > 1) process.exit(exitCodes.interrupted);
  interrupt.abort();
};
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);

// A reader that has seen enough (`ebb logs NAME | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.ok : exitCodes.failed);
});

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  signal: interrupt.signal,
});
