import { basename, resolve } from 'node:path';
import { EbbError } from '../platform/errors.ts';
import type { Client } from './client.ts';
import type { DeployOptions } from './commands/deploy.ts';
import type { Context } from './context.ts';
import { usageError } from './exit.ts';
import { imageSource } from './image-source.ts';
import { paths, type Service } from './kube.ts';
import { checkName, labelFrom, nameOfImage } from './names.ts';
import type { Progress } from './progress.ts';
import { finishRollout } from './finish-rollout.ts';
import { sendImage, type SentImage } from './send-image.ts';
import { newService, servicePatch, type DeploySettings } from './service-spec.ts';
import { sourceTar } from './source-tar.ts';

/** A write that meets someone else's is made again from what that one left. */
const maxConflicts = 5;

/** `ebb deploy [DIR] [--image REF]`: build or import, create or change the Service, wait until it is ready. */
export async function deployService(context: Context, dir: string | undefined, options: DeployOptions): Promise<void> {
  const folder = resolve(context.cwd, dir ?? '.');
  const name = nameFor(folder, options);
  const namespace = await context.namespace();
  using client = await context.client();
  using progress = context.progress();

  const image = await resolveImage(context, client, progress, { folder, name, namespace, image: options.image });
  const { service, change } = await applyService(client, namespace, name, settingsOf(options, image), context.signal);
  progress.done(`service ${name} ${change}`);
  await finishRollout(context, client, progress, service, options);
}

interface DeployedImage {
  reference: string;
  /** A tag: what it names may change. */
  mutable: boolean;
}

async function resolveImage(
  context: Context,
  client: Client,
  progress: Progress,
  what: { folder: string; name: string; namespace: string; image: string | undefined },
): Promise<DeployedImage> {
  const warn = (message: string) => progress.warn(message);
  const begin = context.clock.monotonic();
  const took = () => seconds(context.clock.monotonic() - begin);
  if (what.image === undefined) {
    const tar = await sourceTar(what.folder, { warn });
    progress.update(`sending ${what.folder}`);
    const options = { progress, signal: context.signal };
    const sent = await sendImage(client, paths.builds(what.namespace), { name: what.name }, tar, options);
    progress.done(`built ${what.name}${about(sent)} in ${took()}`);
    return { reference: sent.reference, mutable: false };
  }
  const source = imageSource(what.image, context.cwd, warn);
  if (source.from === 'registry') {
    return { reference: source.reference, mutable: !source.reference.includes('@sha256:') };
  }
  progress.update(`sending ${source.name}`);
  const query = { name: what.name, format: source.format, tag: source.tag };
  const options = { progress, signal: context.signal };
  const sent = await sendImage(client, paths.images(what.namespace), query, await source.open(), options);
  progress.done(`imported ${source.name} in ${took()}`);
  return { reference: sent.reference, mutable: false };
}

/** Creates the Service or patches the one that is there, again from its newest state when another writer came first. */
async function applyService(
  client: Client,
  namespace: string,
  name: string,
  settings: DeploySettings,
  signal: AbortSignal,
): Promise<{ service: Service; change: 'created' | 'changed' | 'unchanged' }> {
  const query = { fieldManager: 'ebb', fieldValidation: 'Strict' };
  for (let conflicts = 0; ; conflicts++) {
    try {
      const existing = await client.find<Service>(paths.services(namespace, name), { signal });
      if (!existing) {
        const body = newService(name, namespace, settings);
        const service = await client.json<Service>('POST', paths.services(namespace), { query, body, signal });
        return { service, change: 'created' };
      }
      const patch = servicePatch(existing, settings);
      const service = await client.patch<Service>(paths.services(namespace, name), patch, { query, signal });
      const same = service.metadata.generation === existing.metadata.generation;
      return { service, change: same ? 'unchanged' : 'changed' };
    } catch (error) {
      // 409: AlreadyExists of a create, Conflict of a patch.
      if (!(error instanceof EbbError) || error.status !== 409 || conflicts >= maxConflicts) throw error;
    }
  }
}

function settingsOf(options: DeployOptions, image: DeployedImage): DeploySettings {
  return {
    image: image.reference,
    deployedAt: image.mutable ? new Date().toISOString() : undefined,
    env: options.env ?? {},
    port: options.port,
    protocol: options.http2 ? 'h2c' : undefined,
    concurrency: options.concurrency,
    minScale: options.min,
    maxScale: options.max,
    timeoutSeconds: options.requestTimeout,
    cpu: options.cpu,
    memory: options.memory,
    scaleToZeroAfter: options.scaleToZeroAfter,
    annotations: options.annotation,
    command: options.command,
    args: options.arg,
  };
}

function nameFor(folder: string, options: DeployOptions): string {
  if (options.name !== undefined) return checkName(options.name);
  const name = options.image === undefined ? labelFrom(basename(folder)) : nameOfImage(options.image);
  if (name === undefined) {
    throw usageError(`no service name can be made of "${options.image ?? folder}": give one with --name`);
  }
  return name;
}

function about(sent: SentImage): string {
  const parts = [
    ...(sent.detected ? [sent.detected] : []),
    ...(sent.sizeBytes === undefined ? [] : [`${(sent.sizeBytes / 1024 ** 2).toFixed(1)} MB`]),
  ];
  return parts.length > 0 ? ` (${parts.join(', ')})` : '';
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
