import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { EbbError } from './errors.ts';
import type { LogLevel } from './logger.ts';
import { defaultPaths } from './paths.ts';
import { parseTimeSpan } from './duration.ts';
import { memoryBytes } from './quantity.ts';

/** Everything that a control process is told at its start. Validated: see {@link controlOptions}. */
export interface ControlOptions {
  /** Absolute. */
  dataDir: string;
  /** Absolute, and short enough for the Unix sockets below it. */
  runDir: string;
  /** `HOST:PORT`, an IPv6 host in brackets; port 0 lets the kernel choose. */
  gatewayListen: string;
  apiListen: string;
  /** Services are `NAME.NAMESPACE.<domain>`. */
  domain: string;
  /** Name or absolute path of the OCI runtime; undefined: the best one whose self-test passes. */
  runtime?: string;
  /** For services that say nothing themselves; undefined: Knative's windows. */
  scaleToZeroAfterMs?: number;
  logLevel: LogLevel;
  /** Memory that standby sandboxes may take together; undefined: the engine's default. */
  standbyBudgetBytes?: number;
  /** The process has no terminal: its log goes to `<dataDir>/logs/control.log`. */
  detach: boolean;
}

/** The same, as it comes from a command line: every value still text, what is absent takes its default. */
export interface RawControlOptions {
  dataDir?: string | undefined;
  runDir?: string | undefined;
  gatewayListen?: string | undefined;
  apiListen?: string | undefined;
  domain?: string | undefined;
  runtime?: string | undefined;
  scaleToZeroAfter?: string | undefined;
  logLevel?: string | undefined;
  standbyBudget?: string | undefined;
  detach?: boolean | undefined;
}

export const controlDefaults = {
  gatewayListen: '0.0.0.0:8080',
  apiListen: '127.0.0.1:8470',
  domain: 'localhost',
  logLevel: 'info',
} as const;

const logLevels: readonly string[] = ['debug', 'info', 'warn', 'error', 'silent'] satisfies LogLevel[];
/** sun_path holds 108 bytes (unix(7)); this leaves room for the names of the sockets below the run directory. */
const maxRunDirBytes = 72;
const maxScaleToZeroMs = 24 * 3_600_000;

/** Checks and completes options. Throws EbbError InvalidOption that names the option, its value and what it may be. */
export function controlOptions(raw: RawControlOptions): ControlOptions {
  const dataDir = resolve(raw.dataDir || defaultPaths.dataDir);
  const runDir = resolve(raw.runDir || defaultPaths.runDir);
  if (dataDir === runDir) {
    invalid('run-dir', runDir, 'be another directory than --data-dir: one survives reboots, the other must not');
  }
  if (Buffer.byteLength(runDir) > maxRunDirBytes) {
    invalid('run-dir', runDir, `be at most ${maxRunDirBytes} bytes long, since Unix sockets lie below it`);
  }
  const gateway = parseListen('gateway-listen', raw.gatewayListen ?? controlDefaults.gatewayListen, '0.0.0.0');
  const api = parseListen('api-listen', raw.apiListen ?? controlDefaults.apiListen, '127.0.0.1');
  if (gateway.port !== 0 && gateway.port === api.port && (gateway.host === api.host || gateway.host === '0.0.0.0')) {
    invalid('api-listen', formatListen(api), `have another port than --gateway-listen ${formatListen(gateway)}`);
  }
  const logLevel = raw.logLevel ?? controlDefaults.logLevel;
  if (!isLogLevel(logLevel)) invalid('log-level', logLevel, `be one of ${logLevels.join(', ')}`);
  return {
    dataDir,
    runDir,
    gatewayListen: formatListen(gateway),
    apiListen: formatListen(api),
    domain: domainOf(raw.domain ?? controlDefaults.domain),
    logLevel,
    detach: raw.detach ?? false,
    ...(raw.runtime === undefined ? {} : { runtime: runtimeOf(raw.runtime) }),
    ...(raw.scaleToZeroAfter === undefined ? {} : { scaleToZeroAfterMs: scaleToZeroOf(raw.scaleToZeroAfter) }),
    ...(raw.standbyBudget === undefined ? {} : { standbyBudgetBytes: budgetOf(raw.standbyBudget) }),
  };
}

/** The arguments with which a control process is started; {@link parseControlArgs} reads them back. */
export function controlArgs(options: ControlOptions): string[] {
  const args = [
    ...['--data-dir', options.dataDir, '--run-dir', options.runDir],
    ...['--gateway-listen', options.gatewayListen, '--api-listen', options.apiListen],
    ...['--domain', options.domain, '--log-level', options.logLevel],
  ];
  if (options.runtime !== undefined) args.push('--runtime', options.runtime);
  if (options.scaleToZeroAfterMs !== undefined) args.push('--scale-to-zero-after', `${options.scaleToZeroAfterMs}ms`);
  if (options.standbyBudgetBytes !== undefined) args.push('--standby-budget', String(options.standbyBudgetBytes));
  if (options.detach) args.push('--detach');
  return args;
}

/** Options from a control process's own `process.argv.slice(2)`. Throws EbbError InvalidOption. */
export function parseControlArgs(argv: readonly string[]): ControlOptions {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...argv],
      options: {
        'data-dir': { type: 'string' },
        'run-dir': { type: 'string' },
        'gateway-listen': { type: 'string' },
        'api-listen': { type: 'string' },
        domain: { type: 'string' },
        runtime: { type: 'string' },
        'scale-to-zero-after': { type: 'string' },
        'log-level': { type: 'string' },
        'standby-budget': { type: 'string' },
        detach: { type: 'boolean' },
      },
    }));
  } catch (cause) {
    throw new EbbError('InvalidOption', 400, cause instanceof Error ? cause.message : String(cause), { cause });
  }
  return controlOptions({
    dataDir: values['data-dir'],
    runDir: values['run-dir'],
    gatewayListen: values['gateway-listen'],
    apiListen: values['api-listen'],
    domain: values.domain,
    runtime: values.runtime,
    scaleToZeroAfter: values['scale-to-zero-after'],
    logLevel: values['log-level'],
    standbyBudget: values['standby-budget'],
    detach: values.detach,
  });
}

export interface Listen {
  /** Without brackets. */
  host: string;
  port: number;
}

/**
 * `HOST:PORT`, `[V6]:PORT`, `:PORT` or `PORT`; without a host it is `defaultHost`.
 * @param option the option's name, for the message of the EbbError InvalidOption that is thrown
 */
export function parseListen(option: string, text: string, defaultHost: string): Listen {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]*)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) invalid(option, text, 'be HOST:PORT or PORT with a port of 0 to 65535');
  return { host: match[1] ?? (match[2] || defaultHost), port };
}

/** Back to `HOST:PORT`. */
export function formatListen(listen: Listen): string {
  return `${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${listen.port}`;
}

function isLogLevel(text: string): text is LogLevel {
  return logLevels.includes(text);
}

function domainOf(text: string): string {
  const domain = text.toLowerCase();
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (domain.length > 190 || !new RegExp(`^${label}(\\.${label})*$`).test(domain)) {
    invalid('domain', text, 'be a DNS name such as apps.example.com');
  }
  return domain;
}

function runtimeOf(text: string): string {
  if (!/^[A-Za-z0-9._+/-]+$/.test(text)) invalid('runtime', text, 'be a command such as crun, or its path');
  return text.includes('/') ? resolve(text) : text;
}

function scaleToZeroOf(text: string): number {
  const ms = parseTimeSpan(text);
  if (ms === undefined || ms < 1000 || ms > maxScaleToZeroMs) {
    invalid('scale-to-zero-after', text, 'be a time from 1s to 24h, such as 30s or 5m');
  }
  return ms;
}

function budgetOf(text: string): number {
  const bytes = memoryBytes(text);
  if (bytes === undefined || bytes < 0)
    invalid('standby-budget', text, 'be a memory size such as 256Mi, or 0 for no standbys');
  return bytes;
}

function invalid(option: string, value: string, must: string): never {
  throw new EbbError('InvalidOption', 400, `--${option} "${value.slice(0, 200)}" is not right: it must ${must}`);
}
