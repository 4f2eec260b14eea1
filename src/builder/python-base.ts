import { lstat, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import { runOrThrow, type Spawner } from '../platform/spawn.ts';
import { findProgram, reportMissing } from './base-layers.ts';
import { HostFiles, Tree } from './tree.ts';

/** A Python 3 of this machine. */
export interface Python {
  /** Real path of the interpreter. */
  executable: string;
  /** For example `3.11.7`. */
  version: string;
  /** The standard library, real paths: the pure part and the compiled one (often the same). */
  libraries: string[];
  /** Suffix of cached bytecode: `cpython-311`. */
  cacheTag: string;
  /** First bytes of bytecode files that this interpreter reads. */
  magic: string;
}

const question = `
import sys, json, sysconfig, importlib.util
print(json.dumps({
  "executable": sys.executable, "version": sys.version.split()[0], "major": sys.version_info[0],
  "libraries": [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")],
  "cacheTag": sys.implementation.cache_tag, "magic": importlib.util.MAGIC_NUMBER.hex()}))`;

/** Parts of the standard library that servers have no use for; site packages come from requirements.txt alone. */
const unwantedFolders =
  /(^|\/)(__pycache__|tests?|idlelib|idle_test|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|dist-packages|config-[^/]*)\/$/;
const unwantedFiles =
  /(^|\/)(turtle\.py|_tkinter\..*\.so|_test[^/]*\.so|_ctypes_test\..*\.so|xxlimited.*\.so|EXTERNALLY-MANAGED)$|\.(a|pyc|exe)$/;

/**
 * The distribution's own Python, else what `python3` on the PATH really is. Throws EbbError PythonMissing.
 */
export async function findPython(spawner: Spawner, env: Record<string, string>): Promise<Python> {
  const path = (await findProgram('python3', '/usr/bin')) ?? (await findProgram('python3', env['PATH'] ?? ''));
  if (!path) {
    throw new EbbError(
      'PythonMissing',
      422,
      'this is a Python app, but the machine has no python3: install it (apt install python3)',
    );
  }
  const { stdout } = await runOrThrow(spawner, path, ['-I', '-c', question], { env, timeoutMs: 30_000 });
  const said = JSON.parse(stdout) as Python;
  const libraries = new Set(await Promise.all(said.libraries.map((folder) => realpath(folder))));
  return { ...said, executable: await realpath(said.executable), libraries: [...libraries] };
}

/** The interpreter with its standard library and all that both load, less what `system` has. */
export async function pythonTree(python: Python, system: Tree, notes: (message: string) => void): Promise<Tree> {
  const tree = new Tree();
  const host = new HostFiles(tree);
  await host.add(python.executable);
  for (const name of ['python', 'python3']) tree.symlink(`/usr/local/bin/${name}`, python.executable);
  // Where `#!` lines look, when this machine's Python is elsewhere.
  if (!(await host.add('/usr/bin/python3'))) tree.symlink('/usr/bin/python3', python.executable);
  for (const folder of python.libraries) {
    await host.addTree(folder, (path) =>
      path.endsWith('/') ? !unwantedFolders.test(path) : !unwantedFiles.test(path),
    );
  }
  await addBytecode(tree, python);
  reportMissing(host, notes);
  tree.subtract(system);
  return tree;
}

/**
 * Adds the machine's cached bytecode, so that an app does not compile the standard library at each cold start.
 *
 * The cache records its source's time, which layers do not keep. PEP 552 has a form that is not checked against the
 * source: flags 1, then a hash that nobody reads. Only bytecode that is fresh here is taken.
 */
async function addBytecode(tree: Tree, python: Python): Promise<void> {
  const magic = Buffer.from(python.magic, 'hex');
  for (const entry of tree.entries()) {
    if (entry.type !== 'file' || !entry.path.endsWith('.py') || !('host' in entry.from)) continue;
    const source = entry.from.host;
    const name = `${basename(source, '.py')}.${python.cacheTag}.pyc`;
    const code = await readFile(join(dirname(source), '__pycache__', name)).catch(() => undefined); // never compiled
    if (!code || code.length < 16 || !code.subarray(0, 4).equals(magic)) continue;
    const flags = code.readUInt32LE(4);
    const stats = await lstat(source);
    const fresh =
      flags === 0
        ? code.readUInt32LE(8) === Math.floor(stats.mtimeMs / 1000) % 2 ** 32 &&
          code.readUInt32LE(12) === stats.size % 2 ** 32
        : flags === 1;
    if (!fresh) continue;
    code.writeUInt32LE(1, 4);
    code.fill(0, 8, 16);
    tree.text(join(dirname(entry.path), '__pycache__', name), code);
  }
}
