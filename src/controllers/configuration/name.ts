import { isDeepStrictEqual } from 'node:util';
import type { Configuration, Revision, RevisionTemplate } from '../../resources/index.ts';
import { childName, generationOf, isControlledBy } from '../names.ts';

/** The Revision of a Configuration's present generation: the template's own name, or `NAME-00001` and so on. */
export function revisionNameOf(configuration: Configuration): string {
  const own = configuration.spec.template.metadata?.name;
  return (
    own || childName(configuration.metadata.name, `-${String(configuration.metadata.generation ?? 1).padStart(5, '0')}`)
  );
}

/**
 * Whether a template's own name belongs to a Revision that isn't what the template says: someone else's, or an older
 * one of ours with another spec. A Revision is never changed, so such a template can't be rolled out.
 */
export function nameConflict(
  template: RevisionTemplate,
  named: Revision | undefined,
  configuration: Configuration | undefined,
): boolean {
  if (!template.metadata?.name || !named) return false;
  if (!configuration || !isControlledBy(named, configuration)) return true;
  const current =
    generationOf(named) === configuration.metadata.generation &&
    isDeepStrictEqual(configuration.spec.template, template);
  return !current && !isDeepStrictEqual(named.spec, template.spec);
}
