import { posix } from 'node:path';
import type { Container } from '../container.ts';
import { exactlyOne, generic, invalid, missing, outOfBounds, type FieldError } from '../field-error.ts';
import { dns1123Words, isDns1123Label, isEnvVarName } from '../names.ts';
import { parseQuantity } from '../quantities.ts';
import type { EnvFromSource, EnvVarSource, KeyToPath, Volume, VolumeMount } from '../volumes.ts';

/** Knative's reserved paths (pkg/apis/serving/k8s_validation.go); below the others the kernel's own files are. */
const reservedPaths = new Set(['/', '/dev', '/dev/log', '/proc', '/sys']);
const reservedTrees = ['/proc/', '/sys/'];
const maxMode = 0o777;
/** Each is a mount of every instance. */
const maxVolumes = 100;

export function validateVolumes(
  volumes: readonly Volume[],
  containers: readonly Container[],
  path: string,
): FieldError[] {
  if (volumes.length > maxVolumes) return [outOfBounds(volumes.length, 0, maxVolumes, path)];
  const mounted = new Set(containers.flatMap((c) => (c.volumeMounts ?? []).map((m) => m.name)));
  const seen = new Set<string>();
  return volumes.flatMap((volume, i) => {
    const at = `${path}[${i}]`;
    const name = volume.name ?? '';
    const twice = seen.has(name);
    seen.add(name);
    return [
      ...(twice ? [generic(`duplicate volume name ${JSON.stringify(name)}`, `${at}.name`)] : []),
      ...(mounted.has(name) ? [] : [generic(`volume with name ${JSON.stringify(name)} not mounted`, `${at}.name`)]),
      ...validateVolume(volume, at),
    ];
  });
}

function validateVolume(volume: Volume, path: string): FieldError[] {
  const { name, secret, configMap, projected, emptyDir } = volume;
  return [
    ...(name ? (isDns1123Label(name) ? [] : [invalid(name, `${path}.name`, dns1123Words)]) : [missing(`${path}.name`)]),
    ...validateOneOf({ secret, configMap, projected, emptyDir }, path),
    ...(secret && !secret.secretName ? [missing(`${path}.secret.secretName`)] : []),
    ...(configMap && !configMap.name ? [missing(`${path}.configMap.name`)] : []),
    ...(secret ? validateFiles(secret, `${path}.secret`) : []),
    ...(configMap ? validateFiles(configMap, `${path}.configMap`) : []),
    ...(projected ? validateProjected(projected, `${path}.projected`) : []),
    ...(emptyDir ? validateEmptyDir(emptyDir, `${path}.emptyDir`) : []),
  ];
}

function validateProjected(projected: NonNullable<Volume['projected']>, path: string): FieldError[] {
  return [
    ...validateMode(projected.defaultMode, `${path}.defaultMode`),
    ...(projected.sources ?? []).flatMap((source, i) => {
      const at = `${path}.sources[${i}]`;
      const { secret, configMap } = source;
      return [
        ...validateOneOf({ secret, configMap }, at),
        ...(secret && !secret.name ? [missing(`${at}.secret.name`)] : []),
        ...(configMap && !configMap.name ? [missing(`${at}.configMap.name`)] : []),
        ...(secret ? validateFiles(secret, `${at}.secret`) : []),
        ...(configMap ? validateFiles(configMap, `${at}.configMap`) : []),
      ];
    }),
  ];
}

function validateEmptyDir(emptyDir: NonNullable<Volume['emptyDir']>, path: string): FieldError[] {
  const { medium = '', sizeLimit } = emptyDir;
  const bytes = sizeLimit === undefined ? 0 : parseQuantity(sizeLimit);
  return [
    ...(['', 'Memory'].includes(medium) ? [] : [invalid(medium, `${path}.medium`, 'must be "" or Memory')]),
    ...(bytes === undefined || bytes < 0
      ? [invalid(sizeLimit, `${path}.sizeLimit`, 'must be a quantity such as 64Mi, not negative')]
      : []),
  ];
}

function validateFiles(source: { items?: KeyToPath[]; defaultMode?: number }, path: string): FieldError[] {
  return [
    ...validateMode(source.defaultMode, `${path}.defaultMode`),
    ...(source.items ?? []).flatMap((item, i) => {
      const at = `${path}.items[${i}]`;
      return [
        ...(item.key ? [] : [missing(`${at}.key`)]),
        ...(item.path ? validateInside(item.path, `${at}.path`) : [missing(`${at}.path`)]),
        ...validateMode(item.mode, `${at}.mode`),
      ];
    }),
  ];
}

function validateMode(mode: number | undefined, path: string): FieldError[] {
  return mode === undefined || (mode >= 0 && mode <= maxMode) ? [] : [outOfBounds(mode, 0, maxMode, path)];
}

/** A path below the volume: Kubernetes' rules for `items[].path` and `subPath`, so that nothing leads out of it. */
function validateInside(inside: string, path: string): FieldError[] {
  const parts = inside.split('/');
  const fine =
    !inside.startsWith('/') &&
    !inside.includes('\0') &&
    inside.length <= 4096 &&
    parts.every((part) => part !== '..' && part.length <= 255) &&
    posix.normalize(inside) !== '.';
  return fine ? [] : [invalid(inside, path, "must be a relative path without '..'")];
}

/** The mounts of one container. */
export function validateVolumeMounts(
  mounts: readonly VolumeMount[],
  volumes: readonly Volume[],
  path: string,
): FieldError[] {
  const named = new Map(volumes.map((v) => [v.name, v]));
  const seen = new Set<string>();
  return mounts.flatMap((mount, i) => {
    const at = `${path}[${i}]`;
    const volume = named.get(mount.name ?? '');
    const errors = volume ? [] : [generic('volumeMount has no matching volume', `${at}.name`)];
    errors.push(...validateMountPath(mount.mountPath ?? '', seen, `${at}.mountPath`));
    if (mount.subPath) errors.push(...validateInside(mount.subPath, `${at}.subPath`));
    if (volume && !volume.emptyDir && mount.readOnly !== true)
      errors.push(generic('volume mount should be readOnly for this type of volume', `${at}.readOnly`));
    return errors;
  });
}

function validateMountPath(mountPath: string, seen: Set<string>, path: string): FieldError[] {
  if (mountPath === '') return [missing(path)];
  // Not posix.normalize alone: it keeps a slash at the end.
  const clean = posix.normalize(mountPath).replace(/(?<=.)\/$/, '');
  const twice = seen.has(clean);
  seen.add(clean);
  if (reservedPaths.has(clean) || reservedTrees.some((tree) => clean.startsWith(tree)))
    return [generic(`mountPath ${JSON.stringify(clean.slice(0, 100))} is a reserved path`, path)];
  if (!posix.isAbsolute(clean) || clean.includes('\0') || clean.length > 4095) return [invalid(mountPath, path)];
  return twice ? [invalid(`${JSON.stringify(mountPath)} must be unique`, path)] : [];
}

export function validateValueFrom(source: EnvVarSource, value: string | undefined, path: string): FieldError[] {
  const { secretKeyRef, configMapKeyRef } = source;
  const selector = (field: 'secretKeyRef' | 'configMapKeyRef') => {
    const of = source[field];
    if (!of) return [];
    return [
      ...(of.name ? [] : [missing(`${path}.${field}.name`)]),
      ...(of.key ? [] : [missing(`${path}.${field}.key`)]),
    ];
  };
  return [
    ...(value ? [generic('may not be specified when `value` is not empty', path)] : []),
    ...validateOneOf({ secretKeyRef, configMapKeyRef }, path),
    ...selector('secretKeyRef'),
    ...selector('configMapKeyRef'),
  ];
}

export function validateEnvFrom(sources: readonly EnvFromSource[], path: string): FieldError[] {
  return sources.flatMap((source, i) => {
    const at = `${path}[${i}]`;
    const { secretRef, configMapRef, prefix } = source;
    return [
      ...validateOneOf({ configMapRef, secretRef }, at),
      ...(secretRef && !secretRef.name ? [missing(`${at}.secretRef.name`)] : []),
      ...(configMapRef && !configMapRef.name ? [missing(`${at}.configMapRef.name`)] : []),
      ...(prefix && !isEnvVarName(prefix) ? [invalid(prefix, `${at}.prefix`, 'printable ASCII but "="')] : []),
    ];
  });
}

function validateOneOf(choices: Record<string, unknown>, path: string): FieldError[] {
  const fields = Object.keys(choices);
  const given = fields.filter((field) => choices[field] !== undefined);
  if (given.length === 1) return [];
  return [exactlyOne(given.length, ...(given.length === 0 ? fields : given).map((field) => `${path}.${field}`))];
}
