import { EbbError } from '../../platform/errors.ts';
import type { ImageConfig, LocalImage } from '../../images/images.ts';
import type { Container } from '../../resources/index.ts';
import type { ResolvedVariable, Workload } from '../engine.ts';
import { findInLayers, readInLayers, resolveUser, type ContainerUser } from './users.ts';

/** What a container's first process is: everything about it that does not depend on the instance. */
export interface ProcessPlan {
  args: string[];
  /** Names to values, in order; HOSTNAME is added for each instance. */
  env: Record<string, string>;
  cwd: string;
  /** The image has no such folder: it is made in the writable layer. */
  makeCwd: boolean;
  /** The image's /tmp is a folder or missing: it is made world-writable. */
  makeTmp: boolean;
  user: ContainerUser;
  port: number;
  stopSignal: string;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The one container of a workload. Throws EbbError MultipleContainersUnsupported. */
export function containerOf(workload: Workload): Container {
  const [container, second] = workload.spec.containers;
  if (!container || second)
    throw new EbbError(
      'MultipleContainersUnsupported',
      422,
      `revision ${workload.revision} has ${workload.spec.containers.length} containers; this engine runs exactly one`,
    );
  return container;
}

/** The port that the gateway connects to: the container's own, or Knative's default 8080. */
export function portOf(container: Container): number {
  return container.ports?.[0]?.containerPort ?? 8080;
}

/**
 * Puts workload and image together. Throws EbbError ImageHasNoCommand, ImageUserUnknown, RunAsRootRefused, so that
 * `prepare` tells before any instance is tried.
 */
export async function planProcess(workload: Workload, image: LocalImage): Promise<ProcessPlan> {
  const container = containerOf(workload);
  const top = image.layerDirs.toReversed();
  const port = portOf(container);
  const user = await userOf(container, image, top);
  const cwd = absolute(container.workingDir || image.config.config?.WorkingDir || '/');
  const tmp = await findInLayers(top, '/tmp');
  return {
    ...commandAndEnvironment(workload, image, literalsOf(container)),
    cwd,
    makeCwd: cwd !== '/' && (await findInLayers(top, cwd)) === undefined,
    makeTmp: tmp === undefined || top.some((layer) => tmp.path === `${layer}/tmp`),
    user,
    port,
    stopSignal: image.config.config?.StopSignal || 'SIGTERM',
  };
}

/** The command line and its environment: all of the plan that depends on the container's variables. */
export function commandAndEnvironment(
  workload: Workload,
  image: LocalImage,
  variables: readonly ResolvedVariable[],
): Pick<ProcessPlan, 'args' | 'env'> {
  const container = containerOf(workload);
  const env = environment(workload, variables, image.config, portOf(container));
  return { args: commandLine(container, image.config, image.reference).map((arg) => expand(arg, env)), env };
}

function literalsOf(container: Container): ResolvedVariable[] {
  return (container.env ?? []).map(({ name, value = '' }) => ({ name, value, expand: true }));
}

/**
 * Kubernetes' rules (docs: define a command and arguments for a container): `command` replaces the image's entrypoint
 * and discards its cmd, `args` replaces the cmd.
 */
export function commandLine(container: Container, image: ImageConfig, reference: string): string[] {
  const entrypoint = container.command?.length ? container.command : (image.config?.Entrypoint ?? []);
  const cmd = container.args?.length ? container.args : container.command?.length ? [] : (image.config?.Cmd ?? []);
  const line = [...entrypoint, ...cmd];
  if (line.length === 0 || line[0] === '')
    throw new EbbError(
      'ImageHasNoCommand',
      422,
      `image ${reference} names no command to run and neither does the container; set command`,
    );
  return line;
}

/** Image env, then the container's, then what the Knative runtime contract reserves. */
function environment(
  workload: Workload,
  variables: readonly ResolvedVariable[],
  image: ImageConfig,
  port: number,
): Record<string, string> {
  const env: Record<string, string> = { PATH: defaultPath };
  for (const entry of image.config?.Env ?? []) {
    const at = entry.indexOf('=');
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  for (const variable of variables) env[variable.name] = variable.expand ? expand(variable.value, env) : variable.value;
  return {
    ...env,
    PORT: String(port),
    K_SERVICE: workload.service,
    K_REVISION: workload.revision,
    K_CONFIGURATION: workload.configuration,
  };
}

/** Kubernetes' `$(NAME)` references; `$$(NAME)` is a literal `$(NAME)`, unknown names stay as they are. */
export function expand(text: string, env: Record<string, string>): string {
  return text.replace(/\$(\$)?\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)/g, (whole, escaped: string | undefined, name: string) =>
    escaped ? whole.slice(1) : Object.hasOwn(env, name) ? (env[name] ?? '') : whole,
  );
}

async function userOf(container: Container, image: LocalImage, top: readonly string[]): Promise<ContainerUser> {
  const security = container.securityContext ?? {};
  const passwd = await readInLayers(top, '/etc/passwd');
  const group = await readInLayers(top, '/etc/group');
  const user =
    security.runAsUser === undefined
      ? resolveUser(image.config.config?.User ?? '', passwd, group)
      : resolveUser(String(security.runAsUser), passwd, group);
  if (security.runAsGroup !== undefined) user.gid = security.runAsGroup;
  if (security.runAsNonRoot && user.uid === 0)
    throw new EbbError(
      'RunAsRootRefused',
      422,
      `securityContext.runAsNonRoot is set, but image ${image.reference} runs as root; set runAsUser`,
    );
  return user;
}

function absolute(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
