import { autoscalingGroup, autoscalingKeys, ebbGroup, keys, servingGroup } from '../annotations.ts';
import { parseDuration } from '../durations.ts';
import { memoryBytes } from '../quantities.ts';
import { generic, invalid, invalidKey, outOfBounds, type FieldError } from '../field-error.ts';

type Check = (value: string, path: string) => FieldError[];

const int32Max = 2 ** 31 - 1;

const wholeNumber =
  (low: number, high = int32Max): Check =>
  (value, path) => {
    if (!/^[+-]?\d{1,10}$/.test(value)) return [invalid(value, path, 'must be a whole number')];
    const n = Number(value);
    return n >= low && n <= high ? [] : [outOfBounds(value, low, high, path)];
  };

const decimal =
  (low: number, high: number): Check =>
  (value, path) => {
    if (!/^[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})$/.test(value)) return [invalid(value, path, 'must be a number')];
    const n = Number(value);
    return n >= low && n <= high ? [] : [outOfBounds(value, low, high, path)];
  };

const duration =
  (low: string, high: string): Check =>
  (value, path) => {
    const ms = parseDuration(value);
    if (ms === undefined) return [invalid(value, path, 'must be a duration such as 30s, 1m30s or 1h')];
    // Bounds are literals of this file, which parse.
    const inside = ms >= (parseDuration(low) ?? 0) && ms <= (parseDuration(high) ?? 0);
    if (!inside) return [outOfBounds(value, low, high, path)];
    return ms % 1000 === 0 ? [] : [generic(`must be in whole seconds, got ${value}`, path)];
  };

const memorySize: Check = (value, path) =>
  memoryBytes(value) === undefined ? [invalid(value, path, 'must be a size such as 512Mi or 2Gi')] : [];

const oneOf =
  (...allowed: string[]): Check =>
  (value, path) =>
    allowed.includes(value) ? [] : [invalid(value, path, `must be one of ${allowed.join(', ')}`)];

/** Knative serving, pkg/apis/autoscaling/annotation_validation.go. */
const autoscaling: Readonly<Record<string, Check>> = {
  class: oneOf('kpa.autoscaling.knative.dev'),
  metric: oneOf('concurrency', 'rps'),
  'min-scale': wholeNumber(0),
  'max-scale': wholeNumber(0),
  'initial-scale': wholeNumber(0),
  'activation-scale': wholeNumber(2),
  'scale-down-delay': duration('0s', '1h'),
  target: decimal(0.01, int32Max),
  'target-utilization-percentage': decimal(1, 100),
  'target-burst-capacity': decimal(-1, int32Max),
  window: duration('6s', '1h'),
  'panic-window-percentage': decimal(1, 100),
  'panic-threshold-percentage': decimal(110, 1000),
  'scale-to-zero-pod-retention-period': duration('0s', '1h'),
  'metric-aggregation-algorithm': oneOf('linear', 'weighted-exponential'),
};
const autoscalingByKey = new Map(
  Object.entries(autoscaling).flatMap(([name, check]) => autoscalingKeys(name).map((key) => [key, check] as const)),
);

/** Ebb's own settings; each is read by the part of the program that it configures. */
const ebbTemplate: Readonly<Record<string, Check>> = {
  [keys.writable]: oneOf('memory', 'disk'),
  'ebb.dev/scale-to-zero-after': duration('1s', '24h'),
  'ebb.dev/termination-grace-period': duration('0s', '1h'),
  'ebb.dev/writable-size': memorySize,
};

/**
 * Annotations of a revision template: autoscaling, Ebb's own and the progress deadline. Unknown ones of those groups are
 * refused (a misspelled `min-scale` is a bill), any other is free.
 */
export function validateTemplateAnnotations(annotations: Record<string, string> = {}, path: string): FieldError[] {
  const errors = Object.entries(annotations).flatMap(([key, value]) => {
    const at = `${path}.${key}`;
    if (key.startsWith(autoscalingGroup)) {
      const check = autoscalingByKey.get(key);
      return check ? check(value, at) : [invalidKey(key, path, `known are ${known(autoscaling, autoscalingGroup)}`)];
    }
    if (key.startsWith(ebbGroup)) {
      const check = ebbTemplate[key];
      return check ? check(value, at) : [invalidKey(key, path, `known are ${known(ebbTemplate, '')}`)];
    }
    if (key === keys.progressDeadline) return duration('1s', '24h')(value, at);
    return [];
  });
  return errors.length > 0 ? errors : validateScaleOrder(annotations, path);
}

/** Annotations of a Service, Configuration or Route itself: no autoscaling (those belong on the template). */
export function validateObjectAnnotations(annotations: Record<string, string> = {}, path: string): FieldError[] {
  const onlyOnTemplate = (key: string) => key.startsWith(autoscalingGroup) || Object.hasOwn(ebbTemplate, key);
  return Object.entries(annotations).flatMap(([key, value]) => {
    const at = `${path}.${key}`;
    if (onlyOnTemplate(key)) {
      const details = 'autoscaling annotations must be put under "spec.template.metadata.annotations" to work';
      return [invalidKey(key, path, key.startsWith(ebbGroup) ? details.replace('autoscaling', 'these') : details)];
    }
    if (key === keys.rolloutDuration) return duration('0s', '24h')(value, at);
    return [];
  });
}

/** creator never changes; both it and lastModifier are the server's to set. */
export function validateCreator(
  annotations: Record<string, string> = {},
  previous: Record<string, string> | undefined,
  path: string,
): FieldError[] {
  const key = `${servingGroup}creator`;
  return previous?.[key] === undefined || previous[key] === annotations[key]
    ? []
    : [generic('annotation value is immutable', `${path}.${key}`)];
}

function validateScaleOrder(annotations: Record<string, string>, path: string): FieldError[] {
  const value = (name: string) => {
    const key = autoscalingKeys(name).find((k) => annotations[k] !== undefined);
    return key === undefined ? 0 : Number(annotations[key]);
  };
  const [min, max] = [value('min-scale'), value('max-scale')];
  return max !== 0 && max < min
    ? [
        {
          message: `max-scale=${max} is less than min-scale=${min}`,
          paths: [`${path}.${keys.maxScale}`, `${path}.${keys.minScale}`],
        },
      ]
    : [];
}

function known(checks: Readonly<Record<string, Check>>, prefix: string): string {
  return Object.keys(checks)
    .map((k) => prefix + k)
    .join(', ');
}
