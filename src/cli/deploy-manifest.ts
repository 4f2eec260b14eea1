import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { EbbError, errnoOf } from '../platform/errors.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { usageError } from './exit.ts';
import { finishRollout } from './finish-rollout.ts';
import { collectionPath } from './discovery.ts';
import type { KubeObject, Service } from './kube.ts';
import { parseManifest } from './manifest.ts';
import { isObject, lastApplied, threeWayPatch, type JsonObject } from './merge.ts';
import { nameOf, printData } from './output.ts';

const maxManifestBytes = 16 * 1024 * 1024;
const maxConflicts = 5;

/** `ebb deploy -f FILE`: applies every object of a manifest, in its order, as `kubectl apply` does; waits for Services. */
export async function deployManifest(
  context: Context,
  file: string,
  options: { wait: boolean; timeout: number },
): Promise<void> {
  const text = file === '-' ? await readAll(context.stdin) : await readManifest(resolve(context.cwd, file));
  const objects = await parseManifest(text, file === '-' ? 'standard input' : file);
  const namespace = await context.namespace();
  using client = await context.client();
  using progress = context.progress();
  for (const object of objects) {
    const { applied, change } = await applyObject(client, object, namespace, context.signal);
    progress.done(`${nameOf(applied)} ${change}`);
    if (isService(applied)) await finishRollout(context, client, progress, applied, options);
    else if (context.globals.output !== 'table') await printData(context, applied);
  }
}

async function applyObject(
  client: Client,
  object: KubeObject,
  defaultNamespace: string,
  signal: AbortSignal,
): Promise<{ applied: KubeObject; change: 'created' | 'changed' | 'unchanged' }> {
  const namespace = object.metadata.namespace ?? defaultNamespace;
  const collection = await collectionPath(client, object, namespace, signal);
  const wanted = withLastApplied(object);
  const path = `${collection}/${encodeURIComponent(object.metadata.name)}`;
  const query = { fieldManager: 'ebb', fieldValidation: 'Strict' };
  for (let conflicts = 0; ; conflicts++) {
    try {
      const live = await client.find<KubeObject>(path, { signal });
      if (!live) {
        const applied = await client.json<KubeObject>('POST', collection, { query, body: wanted, signal });
        return { applied, change: 'created' };
      }
      const patch = threeWayPatch(previousOf(live), wanted as unknown as JsonObject, live as unknown as JsonObject);
      if (Object.keys(patch).length === 0) return { applied: live, change: 'unchanged' };
      const applied = await client.patch<KubeObject>(path, withVersion(patch, live), { query, signal });
      const same = applied.metadata.resourceVersion === live.metadata.resourceVersion;
      return { applied, change: same ? 'unchanged' : 'changed' };
    } catch (error) {
      if (!(error instanceof EbbError) || error.status !== 409 || conflicts >= maxConflicts) throw error;
    }
  }
}

/** The manifest, carrying itself as an annotation for the next apply (kubectl's convention). */
function withLastApplied(object: KubeObject): KubeObject {
  const annotations = { ...object.metadata.annotations, [lastApplied]: `${JSON.stringify(object)}\n` };
  return { ...object, metadata: { ...object.metadata, annotations } };
}

function previousOf(live: KubeObject): JsonObject {
  const text = live.metadata.annotations?.[lastApplied];
  if (text === undefined) return {};
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {}; // someone else's hand: nothing is known of the last apply, so nothing is taken out
  }
}

function withVersion(patch: JsonObject, live: KubeObject): JsonObject {
  const metadata = isObject(patch['metadata']) ? patch['metadata'] : {};
  return { ...patch, metadata: { ...metadata, resourceVersion: live.metadata.resourceVersion } };
}

function isService(object: KubeObject): object is Service {
  return object.kind === 'Service' && object.apiVersion?.startsWith('serving.knative.dev/') === true;
}

async function readManifest(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') throw new EbbError('NotFound', 404, `there is no file ${file}`, { cause });
    throw usageError(`cannot read ${file}: ${errnoOf(cause) ?? 'unknown error'}`);
  }
}

async function readAll(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array | string);
    size += bytes.length;
    if (size > maxManifestBytes) throw usageError('standard input has over 16 MiB: that is no manifest');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}
