import { EbbError } from '../platform/errors.ts';

/** Leaves room for the `-00001` of revisions. */
const maxLength = 55;

/**
 * A DNS-1035 label made of any text: lower-case letters, digits and `-`, starting with a letter, at most 55 long.
 * Undefined when nothing of the text can stay.
 */
export function labelFrom(text: string): string | undefined {
  const label = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, maxLength)
    .replace(/-+$/, '');
  return label === '' ? undefined : label;
}

/** The name of an image reference's last part: `ghcr.io/acme/My_App:1.2@sha256:...` -> `my-app`. */
export function nameOfImage(reference: string): string | undefined {
  const path = reference.replace(/@.*$/, '').replace(/^(oci|oci-archive|docker-archive):/, '');
  const last = path.replace(/\/+$/, '').split('/').at(-1) ?? '';
  return labelFrom(last.replace(/:[^:]*$/, '').replace(/\.(tar|tar\.gz|tgz)$/, ''));
}

/** Throws EbbError InvalidName unless the text can name a service. */
export function checkName(name: string): string {
  if (/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) return name;
  const like = labelFrom(name);
  throw new EbbError(
    'InvalidOption',
    400,
    `"${name.slice(0, 80)}" cannot name a service: a name is lower-case letters, digits and "-", starts with a letter and has at most 63` +
      (like === undefined ? '' : `; "${like}" would do`),
  );
}
