import { Command, CommanderError, Option } from 'commander';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { defaultPaths } from '../platform/paths.ts';
import { commands } from './commands.ts';
import type { Context, GlobalOptions, Surroundings } from './context.ts';
import { exitCodeHelp, usageError } from './exit.ts';
import { outputFormats, type OutputFormat } from './output.ts';
import { createProgress } from './progress.ts';
import { styleFor } from './style.ts';

/** Options with a value that may stand before the command's name. */
const globalsWithValue = ['--data-dir', '--run-dir', '--kubeconfig', '--namespace', '--output', '-n', '-o'];

/**
 * The `ebb` command line. Only the file of the command that is called is loaded; the others are known by name and
 * summary alone, for `--help` and for suggestions.
 */
export async function createProgram(argv: readonly string[], world: Surroundings): Promise<Command> {
  const program = new Command('ebb')
    .description('Serverless containers on any machine: give it an image or a folder, get a URL.')
    .usage('COMMAND [OPTIONS]')
    .helpCommand('help [COMMAND]', 'show the help of a command')
    .helpOption('-h, --help', 'show help')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void world.stdout.write(text),
      writeErr: (text) => void world.stderr.write(text),
      getOutHelpWidth: () => world.stdout.columns ?? 100,
      outputError: (text, write) => write(text.replace(/^error: /, 'ebb: ')),
    })
    .exitOverride()
    .addOption(
      new Option('--data-dir <dir>', 'where Ebb keeps state, images and logs')
        .env('EBB_DATA_DIR')
        .default(defaultPaths.dataDir),
    )
    .addOption(
      new Option('--run-dir <dir>', 'where its sockets and sandboxes are')
        .env('EBB_RUN_DIR')
        .default(defaultPaths.runDir),
    )
    .addOption(
      new Option('--kubeconfig <file>', 'how to reach the API (default: the one in the data directory)').env(
        'EBB_KUBECONFIG',
      ),
    )
    .addOption(new Option('-n, --namespace <name>', 'namespace of the objects').env('EBB_NAMESPACE'))
    .addOption(new Option('-o, --output <format>', 'how to print').choices(outputFormats).default('table'))
    .addOption(new Option('-V, --version', 'show the version'))
    .addHelpText('after', `\n${exitCodeHelp}\n\nStart with:\n  $ ebb up --detach\n  $ ebb deploy examples/hello`);
  program.on('option:version', () => {
    world.stdout.write(`ebb ${version()}\n`);
    throw new CommanderError(0, 'ebb.version', '');
  });

  const context = createContext(program, world);
  const wanted = commandNamed(argv);
  for (const { name, summary, load } of commands) {
    const command = name === wanted ? (await load()).define(context) : new Command(name);
    program.addCommand(command.summary(summary).copyInheritedSettings(program));
    if (command.description() === '') command.description(summary);
  }
  return program;
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/** The first argument that is neither an option nor an option's value. */
function commandNamed(argv: readonly string[]): string | undefined {
  const operands: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    if (globalsWithValue.includes(word)) i++;
    else if (!word.startsWith('-')) operands.push(word);
  }
  return operands[0] === 'help' ? operands[1] : operands[0];
}

function createContext(program: Command, world: Surroundings): Context {
  const globals = (): GlobalOptions => {
    const o = program.opts<{
      dataDir: string;
      runDir: string;
      kubeconfig?: string;
      namespace?: string;
      output: OutputFormat;
    }>();
    return {
      dataDir: resolve(world.cwd, o.dataDir),
      runDir: resolve(world.cwd, o.runDir),
      kubeconfig: o.kubeconfig === undefined ? undefined : resolve(world.cwd, o.kubeconfig),
      namespace: namespaceOf(o.namespace),
      output: o.output,
    };
  };
  const connection = async () => {
    const { loadKubeconfig } = await import('./kubeconfig.ts');
    const { layout } = await import('../platform/paths.ts');
    const { dataDir, runDir, kubeconfig } = globals();
    return loadKubeconfig(kubeconfig ?? layout({ dataDir, runDir }).kubeconfig);
  };
  return {
    ...world,
    get globals() {
      return globals();
    },
    out: (text) => void world.stdout.write(text),
    err: (text) => void world.stderr.write(text),
    style: styleFor(world.stdout, world.env),
    client: async () => {
      const { Client } = await import('./client.ts');
      return new Client(await connection());
    },
    namespace: async () => globals().namespace ?? (await connection()).namespace ?? 'default',
    progress: () => createProgress({ stream: world.stderr, style: styleFor(world.stderr, world.env) }),
  };
}

function namespaceOf(text: string | undefined): string | undefined {
  if (text === undefined || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw usageError(
    `namespace "${text.slice(0, 80)}" is not a DNS label: lower-case letters, digits and "-", at most 63`,
  );
}
