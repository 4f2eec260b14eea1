import { posix } from 'node:path';
import type { References, ResolvedVariable, VolumeFile } from '../engine/engine.ts';
import { EbbError } from '../platform/errors.ts';
import {
  isEnvVarName,
  type Container,
  type KeyToPath,
  type KubeObject,
  type ObjectReference,
  type RevisionSpec,
  type Volume,
} from '../resources/index.ts';

/** A stored Secret or ConfigMap, as far as it is read here. */
export interface DataObject extends KubeObject {
  /** Of a Secret base64, of a ConfigMap text. */
  data?: Record<string, string>;
  /** Of a ConfigMap, base64. */
  binaryData?: Record<string, string>;
}

/** What is stored under a reference; undefined when there is no such object. */
export type Found = (reference: ObjectReference) => DataObject | undefined;

/** Kubernetes' default for files of Secrets and ConfigMaps. */
const defaultFileMode = 0o644;
/** All files of one instance: they are kept in memory. */
const maxBytes = 32 * 1024 * 1024;

/**
 * The values and files that a revision's containers get from Secrets and ConfigMaps. Pure.
 *
 * Throws EbbError ReferenceMissing, naming the first object or key that is missing and not optional, ReferenceInvalid for
 * values that cannot be what they are meant for.
 */
export function resolveReferences(spec: RevisionSpec, found: Found): Omit<References, 'version'> {
  const files = new Map<string, VolumeFile[]>();
  let bytes = 0;
  for (const volume of spec.volumes ?? []) {
    const content = filesOf(volume, found);
    if (!content) continue;
    bytes += content.reduce((sum, file) => sum + file.content.length, 0);
    files.set(volume.name ?? '', content);
  }
  if (bytes > maxBytes)
    throw invalid(`the volumes hold ${bytes} bytes from Secrets and ConfigMaps; at most ${maxBytes} can be mounted`);
  const env = new Map(spec.containers.map((c) => [c.name ?? '', variablesOf(c, found)]));
  return { env, files };
}

/** In the order in which Kubernetes sets them: envFrom, then env; a later one of the same name wins. */
function variablesOf(container: Container, found: Found): ResolvedVariable[] {
  const variables: ResolvedVariable[] = [];
  for (const { prefix = '', secretRef, configMapRef } of container.envFrom ?? []) {
    const kind = secretRef ? 'Secret' : 'ConfigMap';
    const { name = '', optional } = secretRef ?? configMapRef ?? {};
    const object = lookUp({ kind, name }, optional, found);
    if (!object) continue;
    for (const key of Object.keys(object.data ?? {}).sort()) {
      const variable = `${prefix}${key}`;
      if (isEnvVarName(variable)) variables.push({ name: variable, value: textOf({ kind, name }, object, key) });
    }
  }
  for (const { name, value = '', valueFrom } of container.env ?? []) {
    if (!valueFrom) {
      variables.push({ name, value, expand: true });
      continue;
    }
    const selector = valueFrom.secretKeyRef ?? valueFrom.configMapKeyRef ?? {};
    const reference = { kind: valueFrom.secretKeyRef ? 'Secret' : 'ConfigMap', name: selector.name ?? '' } as const;
    const object = lookUp(reference, selector.optional, found);
    const key = selector.key ?? '';
    if (object && has(object.data, key, reference, selector.optional))
      variables.push({ name, value: textOf(reference, object, key) });
  }
  return variables;
}

/** Undefined for a volume that holds nothing of a Secret or ConfigMap. */
function filesOf(volume: Volume, found: Found): VolumeFile[] | undefined {
  const { secret, configMap, projected } = volume;
  const parts: { kind: ObjectReference['kind']; name?: string; items?: KeyToPath[]; optional?: boolean }[] = [];
  if (secret) parts.push({ ...secret, kind: 'Secret', name: secret.secretName ?? '' });
  else if (configMap) parts.push({ ...configMap, kind: 'ConfigMap' });
  else if (projected) {
    for (const source of projected.sources ?? []) {
      if (source.secret) parts.push({ ...source.secret, kind: 'Secret' });
      else if (source.configMap) parts.push({ ...source.configMap, kind: 'ConfigMap' });
    }
  } else return undefined;
  const mode = (secret ?? configMap ?? projected)?.defaultMode ?? defaultFileMode;
  const files = new Map<string, VolumeFile>();
  for (const { kind, name = '', items, optional } of parts) {
    const object = lookUp({ kind, name }, optional, found);
    if (!object) continue;
    const all = { ...object.data, ...object.binaryData };
    for (const item of items ?? Object.keys(all).map((key): KeyToPath => ({ key, path: key }))) {
      const key = item.key ?? '';
      if (!has(all, key, { kind, name }, optional)) continue;
      const path = posix.normalize(item.path ?? '').replace(/\/$/, '');
      files.set(path, { path, mode: item.mode ?? mode, content: contentOf(kind, object, key) });
    }
  }
  for (const path of files.keys())
    for (let dir = posix.dirname(path); dir !== '.'; dir = posix.dirname(dir))
      if (files.has(dir))
        throw invalid(`volume "${volume.name ?? ''}" has ${JSON.stringify(dir)} as a file and as a folder`);
  return [...files.values()];
}

function lookUp(reference: ObjectReference, optional: boolean | undefined, found: Found): DataObject | undefined {
  const object = found(reference);
  if (!object && !optional) throw missing(`${wordOf(reference)} not found`);
  return object;
}

function has(
  data: Record<string, string> | undefined,
  key: string,
  reference: ObjectReference,
  optional: boolean | undefined,
): boolean {
  if (data && Object.hasOwn(data, key)) return true;
  if (optional) return false;
  throw missing(`key "${key}" not in ${wordOf(reference)}`);
}

function contentOf(kind: ObjectReference['kind'], object: DataObject, key: string): Buffer {
  const text = object.data?.[key];
  if (kind === 'ConfigMap' && text !== undefined) return Buffer.from(text);
  return Buffer.from(text ?? object.binaryData?.[key] ?? '', 'base64');
}

function textOf(reference: ObjectReference, object: DataObject, key: string): string {
  const text = contentOf(reference.kind, object, key).toString('utf8');
  // execve(2) takes strings that end at the first NUL. The value itself is never repeated: it may be a secret.
  if (text.includes('\0'))
    throw invalid(
      `key "${key}" of ${wordOf(reference)} holds a NUL, which no variable can; mount it as a file instead`,
    );
  return text;
}

const wordOf = ({ kind, name }: ObjectReference) => `${kind.toLowerCase()} "${name}"`;
const missing = (message: string) => new EbbError('ReferenceMissing', 422, message);
const invalid = (message: string) => new EbbError('ReferenceInvalid', 422, message);
