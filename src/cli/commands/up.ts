import { Command } from 'commander';
import { controlDefaults } from '../../platform/options.ts';
import type { Context } from '../context.ts';

export interface UpOptions {
  detach?: boolean;
  gatewayListen?: string;
  apiListen?: string;
  domain?: string;
  runtime?: string;
  scaleToZeroAfter?: string;
  standbyBudget?: string;
  logLevel?: string;
}

export function define(context: Context): Command {
  return new Command('up')
    .description('Start Ebb on this machine: API server, controllers, gateway. Needs root.')
    .option('--detach', 'start it in the background and return when it is ready')
    .option('--gateway-listen <host:port>', `where services are called (default: ${controlDefaults.gatewayListen})`)
    .option('--api-listen <host:port>', `where the API is (default: ${controlDefaults.apiListen})`)
    .option('--domain <name>', `services are NAME.NAMESPACE.<name> (default: ${controlDefaults.domain})`)
    .option('--runtime <name>', 'OCI runtime: crun, runc, or the path of another (default: the best that works)')
    .option('--scale-to-zero-after <time>', 'for services that say nothing themselves (default: 90s)')
    .option('--standby-budget <size>', 'memory that standby instances may take together')
    .option('--log-level <level>', `debug, info, warn, error or silent (default: ${controlDefaults.logLevel})`)
    .addHelpText(
      'after',
      `
Examples:
  $ ebb up --detach
  $ ebb up --gateway-listen 127.0.0.1:9080 --api-listen 127.0.0.1:9470 --data-dir ./data --run-dir ./run`,
    )
    .action(async (options: UpOptions) => {
      const { up } = await import('../up.ts');
      return up(context, options);
    });
}
