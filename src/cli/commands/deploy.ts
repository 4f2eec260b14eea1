import { Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { usageError } from '../exit.ts';
import { annotationPair, cpuText, envPair, memoryText, several, spanMs, spanText, whole } from '../parse.ts';

const hourMs = 3_600_000;

export interface DeployOptions {
  file?: string;
  image?: string;
  name?: string;
  env?: Record<string, string | null>;
  port?: number;
  http2?: boolean;
  concurrency?: number;
  min?: number;
  max?: number;
  cpu?: string;
  memory?: string;
  requestTimeout?: number;
  scaleToZeroAfter?: string;
  annotation?: Record<string, string>;
  command?: string[];
  arg?: string[];
  wait: boolean;
  timeout: number;
}

export function define(context: Context): Command {
  return new Command('deploy')
    .argument('[DIR]', 'folder of the app (default: the current one)')
    .description('Deploy a folder of source, an image or a manifest, and print its URL.')
    .option('-f, --file <file>', 'apply the objects of a YAML or JSON file, or of standard input with -')
    .option(
      '--image <ref>',
      'deploy an image: REGISTRY/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE',
    )
    .option('--name <name>', 'name of the service (default: made of the name of the folder or image)')
    .addOption(new Option('--env <key=value>', 'set a variable; KEY- takes it out (repeatable)').argParser(envPair))
    .addOption(
      new Option('--port <n>', 'port that the app listens on, given to it as PORT').argParser(whole(1, 65_535)),
    )
    .option('--http2', 'the app speaks HTTP/2 without TLS (h2c)')
    .addOption(
      new Option('--concurrency <n>', 'requests at a time on one instance, 0 for no limit').argParser(whole(0, 1000)),
    )
    .addOption(new Option('--min <n>', 'instances that are always there').argParser(whole(0, 1000)))
    .addOption(new Option('--max <n>', 'instances at most, 0 for no limit').argParser(whole(0, 1000)))
    .addOption(new Option('--cpu <n>', 'CPUs of an instance: 0.5, 500m, 2').argParser(cpuText))
    .addOption(new Option('--memory <size>', 'memory of an instance: 256Mi, 1Gi').argParser(memoryText))
    .addOption(new Option('--request-timeout <seconds>', 'longest that a request may take').argParser(whole(1, 600)))
    .addOption(
      new Option('--scale-to-zero-after <time>', 'stop the last instance after this long without requests').argParser(
        spanText(1000, 24 * hourMs, 'from 1s to 24h'),
      ),
    )
    .addOption(
      new Option('--annotation <key=value>', 'an annotation of the revision (repeatable)').argParser(annotationPair),
    )
    .addOption(
      new Option('--command <word>', "the program, instead of the image's own (repeatable)").argParser(several),
    )
    .addOption(new Option('--arg <word>', 'an argument of the program (repeatable)').argParser(several))
    .option('--no-wait', 'do not wait until it is ready')
    .addOption(new Option('--timeout <time>', 'how long to wait').argParser(spanMs).default(600_000, '10m'))
    .addHelpText(
      'after',
      `
Examples:
  $ ebb deploy ./app
  $ ebb deploy ./app --name shop --env GREETING=hi --max 5 --scale-to-zero-after 30s
  $ ebb deploy --image ghcr.io/acme/shop:1.4 --port 3000
  $ ebb deploy -f service.yaml

What is not mentioned stays as it is when the service exists already.`,
    )
    .action(async (dir: string | undefined, options: DeployOptions) => {
      if (options.file !== undefined) {
        if (dir !== undefined || options.image !== undefined) {
          throw usageError('a manifest (-f) names its image itself: leave out the folder and --image');
        }
        const { deployManifest } = await import('../deploy-manifest.ts');
        return deployManifest(context, options.file, options);
      }
      if (dir !== undefined && options.image !== undefined) {
        throw usageError('deploy either a folder or an --image, not both');
      }
      const { deployService } = await import('../deploy-service.ts');
      return deployService(context, dir, options);
    });
}
