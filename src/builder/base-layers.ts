import { access, constants, lstat, readFile, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import { HostFiles, Tree } from './tree.ts';

/** The user that apps run as: distroless' `nonroot`. */
export const appUser = { uid: 65532, gid: 65532, home: '/home/nonroot' };

/** Programs for `sh -c` lines and for looking around inside an instance; what a machine lacks is left out. */
const tools = [
  ...['basename', 'cat', 'chmod', 'cp', 'cut', 'date', 'dirname', 'env', 'false', 'grep', 'head', 'hostname', 'id'],
  ...['ln', 'ls', 'mkdir', 'mktemp', 'mv', 'nproc', 'printf', 'pwd', 'readlink', 'rm', 'sed', 'seq', 'sleep'],
  ...['sort', 'stat', 'tail', 'tee', 'timeout', 'touch', 'tr', 'true', 'uname', 'wc'],
];

/** glibc opens these itself at run time: name lookups, and unwinding in pthread_cancel. */
const openedByLibc = ['libnss_files.so.2', 'libnss_dns.so.2', 'libresolv.so.2', 'libgcc_s.so.1'];

/** Where distributions keep the one file with all trusted certificates. */
const certificateBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

export const certificates = '/etc/ssl/certs/ca-certificates.crt';

/**
 * The bottom layer of every image: loader and C library, a shell with a few tools, certificates, time zones, user
 * database. `notes` receives what this machine could not give.
 */
export async function systemTree(notes: (message: string) => void): Promise<Tree> {
  const tree = new Tree();
  const host = new HostFiles(tree);
  for (const link of ['/bin', '/sbin', '/lib', '/lib64']) await host.add(link); // links into /usr on merged systems
  const shell = await host.add('/bin/sh');
  if (!shell) throw new EbbError('BaseIncomplete', 500, 'this machine has no /bin/sh to build images from');
  for (const tool of tools) {
    if (!(await host.add(`/usr/bin/${tool}`))) await host.add(`/bin/${tool}`);
  }
  for (const library of openedByLibc) await host.addLibrary(library, '/bin/sh');

  await addCertificates(tree, notes);
  await addTimeZones(host, notes);
  if (await exists('/usr/lib/locale/C.utf8')) await host.addTree('/usr/lib/locale/C.utf8', () => true);

  const { uid, gid, home } = appUser;
  tree.text(
    '/etc/passwd',
    `root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:${uid}:${gid}:nonroot:${home}:/bin/sh\n`,
  );
  tree.text('/etc/group', `root:x:0:\ntty:x:5:\nnogroup:x:65534:\nnonroot:x:${gid}:\n`);
  tree.text('/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n');
  tree.text('/etc/hosts', '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n');
  await addOsRelease(tree);
  for (const name of ['/etc/services', '/etc/protocols']) await host.add(name);
  for (const path of ['/dev', '/proc', '/sys', '/run', '/root', '/app', '/var/log', '/usr/local/bin'])
    tree.directory(path);
  for (const path of ['/tmp', '/var/tmp']) tree.directory(path, 0o1777);
  tree.directory(home, 0o755, { uid, gid });
  reportMissing(host, notes);
  return tree;
}

/** The Node binary `node` with what it loads, less what `system` has. */
export async function nodeTree(node: string, system: Tree, notes: (message: string) => void): Promise<Tree> {
  const tree = new Tree();
  const host = new HostFiles(tree);
  await host.addAs('/usr/local/bin/node', node);
  tree.symlink('/usr/bin/node', '/usr/local/bin/node'); // where `#!` lines may look
  // Distributions build Node with some of its own modules kept outside of the binary.
  if (node === process.execPath) {
    for (const value of Object.values(process.config.variables)) {
      if (typeof value === 'string' && value.startsWith('/usr/share/nodejs/')) await host.add(value);
    }
  }
  reportMissing(host, notes);
  tree.subtract(system);
  return tree;
}

/** Programs of this machine (a `start` script's interpreter, for example) with what they load, less what `system` has. */
export async function programsTree(programs: string[], system: Tree, notes: (message: string) => void): Promise<Tree> {
  const tree = new Tree();
  const host = new HostFiles(tree);
  for (const program of programs) {
    if (!(await host.add(program))) {
      throw new EbbError(
        'InterpreterMissing',
        422,
        `${program} is not on this machine: install it, or use a Dockerfile`,
      );
    }
  }
  reportMissing(host, notes);
  tree.subtract(system);
  return tree;
}

/** The libraries that the ELF file `path` (part of the source) loads; empty for scripts and static programs. */
export async function librariesTree(path: string, system: Tree, notes: (message: string) => void): Promise<Tree> {
  const tree = new Tree();
  const host = new HostFiles(tree);
  await host.addNeededBy(path);
  reportMissing(host, notes);
  tree.subtract(system);
  return tree;
}

export function reportMissing(host: HostFiles, notes: (message: string) => void): void {
  for (const [soname, asker] of host.missing) notes(`${soname}, which ${asker} needs, is not on this machine`);
}

async function addCertificates(tree: Tree, notes: (message: string) => void): Promise<void> {
  for (const candidate of certificateBundles) {
    const real = await realpath(candidate).catch(() => undefined); // another distribution's place
    if (!real) continue;
    tree.file(certificates, real, await lstat(real, { bigint: true }), 0o644);
    // OpenSSL's own default places, for programs that do not look at SSL_CERT_FILE.
    for (const place of ['/etc/ssl/cert.pem', '/usr/lib/ssl/cert.pem', '/etc/pki/tls/certs/ca-bundle.crt']) {
      tree.symlink(place, certificates);
    }
    const settings = await readFile('/etc/ssl/openssl.cnf').catch(() => undefined); // OpenSSL's defaults apply
    if (settings) {
      tree.text('/etc/ssl/openssl.cnf', settings);
      tree.symlink('/usr/lib/ssl/openssl.cnf', '/etc/ssl/openssl.cnf');
    }
    return;
  }
  notes('this machine has no CA certificates (package ca-certificates): apps will not be able to verify TLS servers');
}

/** `posix/` and `right/` are second copies (the latter with leap seconds) that hardly anybody names. */
async function addTimeZones(host: HostFiles, notes: (message: string) => void): Promise<void> {
  const folder = '/usr/share/zoneinfo';
  if (!(await exists(join(folder, 'UTC')))) {
    notes('this machine has no time zone data (package tzdata): apps will know UTC only');
    return;
  }
  const unwanted = new Set(['posix/', 'right/', 'localtime', 'posixrules', 'leapseconds', 'leap-seconds.list']);
  await host.addTree(folder, (path) => !unwanted.has(path));
}

/** The C library and all else come from this distribution, and scanners for known holes should be told so. */
async function addOsRelease(tree: Tree): Promise<void> {
  const wanted = ['ID', 'ID_LIKE', 'VERSION_ID', 'VERSION_CODENAME', 'NAME', 'PRETTY_NAME', 'HOME_URL'];
  const text = await readFile('/etc/os-release', 'utf8').catch(() => 'ID=linux\nNAME=Linux\nPRETTY_NAME=Linux\n');
  const lines = text.split('\n').filter((line) => wanted.includes(line.split('=')[0] ?? ''));
  tree.text('/etc/os-release', `${lines.sort().join('\n')}\n`);
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.R_OK).then(
    () => true,
    () => false,
  );
}

/** The first of `names` that is an executable file in a folder of `searchPath`, or undefined. */
export async function findProgram(name: string, searchPath: string): Promise<string | undefined> {
  for (const folder of searchPath.split(':').filter((f) => f.startsWith('/'))) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (
      usable &&
      (await readdir(path).then(
        () => false,
        () => true,
      ))
    )
      return path;
  }
  return undefined;
}
