// Makes ./node_modules/.bin/ebb and `npx ebb` work inside the checkout: npm links the bins of dependencies there, but
// never those of the package itself. Runs after `npm install` and `npm ci` (the "prepare" script) and needs no packages.
import { lstatSync, mkdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const target = '../../bin/ebb';

/** Links `<root>/node_modules/.bin/ebb` to `<root>/bin/ebb`; does nothing when that is done already. */
export function linkBin(root) {
  const link = join(root, 'node_modules', '.bin', 'ebb');
  if (lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(link) === target) return;
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(target, link);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) linkBin(join(dirname(process.argv[1]), '..'));
