import { exactlyOne, forbidden, generic, invalid, missing, outOfBounds, type FieldError } from '../field-error.ts';
import { dns1035Words, isDns1035Label, isDns1123Subdomain, subdomainWords } from '../names.ts';
import type { TrafficTarget } from '../serving.ts';

/** Traffic of a Service (its own revisions) or of a Route (any revision or configuration). */
export function validateTraffic(
  targets: readonly TrafficTarget[],
  of: 'service' | 'route',
  path: string,
): FieldError[] {
  if (targets.length === 0) return [missing(path)];
  const errors = targets.flatMap((target, i) => validateTarget(target, of, `${path}[${i}]`));
  const tags = new Map<string, number>();
  for (const [i, { tag }] of targets.entries()) {
    if (!tag) continue;
    const first = tags.get(tag);
    if (first === undefined) tags.set(tag, i);
    else {
      errors.push({
        message: 'Multiple definitions for ' + tag,
        paths: [`${path}[${first}].tag`, `${path}[${i}].tag`],
        reason: 'FieldValueDuplicate',
      });
    }
  }
  const sum = targets.reduce((total, t) => total + (t.percent ?? 0), 0);
  if (sum !== 100) errors.push(generic(`Traffic targets sum to ${sum}, want 100`, path));
  return errors;
}

function validateTarget(target: TrafficTarget, of: 'service' | 'route', path: string): FieldError[] {
  const { revisionName, configurationName, latestRevision, percent, tag, url } = target;
  const errors: FieldError[] = [];
  if (of === 'service' && configurationName) errors.push(forbidden(`${path}.configurationName`));
  if (of === 'route') {
    if (revisionName && configurationName)
      errors.push(exactlyOne(2, `${path}.revisionName`, `${path}.configurationName`));
    if (!revisionName && !configurationName) {
      errors.push(exactlyOne(0, `${path}.revisionName`, `${path}.configurationName`));
    }
  }
  for (const [field, name] of [
    ['revisionName', revisionName],
    ['configurationName', configurationName],
  ] as const) {
    if (name && !isDns1123Subdomain(name)) errors.push(invalid(name, `${path}.${field}`, subdomainWords));
  }
  if (latestRevision !== undefined && latestRevision === Boolean(revisionName)) {
    errors.push(
      invalid(
        latestRevision,
        `${path}.latestRevision`,
        latestRevision
          ? 'may not set revisionName when latestRevision is true'
          : 'must set revisionName when latestRevision is false',
      ),
    );
  }
  if (percent !== undefined && (percent < 0 || percent > 100))
    errors.push(outOfBounds(percent, 0, 100, `${path}.percent`));
  if (tag && !isDns1035Label(tag)) errors.push(invalid(tag, `${path}.tag`, dns1035Words));
  if (url) errors.push(forbidden(`${path}.url`));
  return errors;
}
