import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Transform, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { EbbError, messageOf } from '../../platform/errors.ts';

/** More than this is hardly source; images of that size come as images. */
const maxSourceBytes = 2 * 1024 ** 3;

/**
 * Extracts an uploaded tar stream of a source folder into the empty directory `into`.
 *
 * GNU tar does it: it drops leading `/`, refuses `..` and holds symbolic links back until all else is written, so that
 * nothing lands outside. Owners, setuid bits and devices are not taken over. Throws EbbError BadArchive, SourceTooLarge.
 */
export async function extractSource(archive: Readable, into: string, signal: AbortSignal): Promise<void> {
  const args = ['-x', '-f', '-', '--no-same-owner', '--no-same-permissions', '-C', into];
  const tar = spawn('tar', args, {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    signal,
  });
  let words = '';
  tar.stderr.setEncoding('utf8').on('data', (s: string) => (words = (words + s).slice(-2000)));
  const ended = once(tar, 'close') as Promise<[number | null]>;
  ended.catch(() => undefined); // looked at below; an abort may come first

  let seen = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen += chunk.length;
      if (seen <= maxSourceBytes) return done(null, chunk);
      done(
        new EbbError(
          'SourceTooLarge',
          413,
          `the source folder is over ${maxSourceBytes / 1024 ** 3} GiB; list what is not needed in .ebbignore`,
        ),
      );
    },
  });
  const fed = await pipeline(archive, bounded, tar.stdin, { signal }).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (fed instanceof EbbError) {
    tar.kill('SIGKILL');
    throw fed;
  }
  const [code] = await ended;
  if (code !== 0 || fed) {
    const why = words.trim().split('\n').at(-1) || messageOf(fed ?? `exit ${code}`);
    throw new EbbError('BadArchive', 400, `the uploaded source is not a complete tar archive: ${why}`, { cause: fed });
  }
}
