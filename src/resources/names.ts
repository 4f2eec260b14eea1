/** DNS-1123 label, RFC 1123: lower-case letters, digits, "-"; 63 characters. */
export const isDns1123Label = (s: string) => s.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(s);

/** DNS-1035 label, RFC 1035: as DNS-1123, but begins with a letter. */
export const isDns1035Label = (s: string) => s.length <= 63 && /^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(s);

/** DNS-1123 subdomain: labels joined by dots; 253 characters. */
export const isDns1123Subdomain = (s: string) =>
  s.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(s);

/** Kubernetes' qualified name, for the keys of labels and annotations: `[DNS subdomain/]name`. */
export function isQualifiedName(s: string): boolean {
  const slash = s.indexOf('/');
  const name = slash < 0 ? s : s.slice(slash + 1);
  const prefix = slash < 0 ? undefined : s.slice(0, slash);
  return (prefix === undefined || isDns1123Subdomain(prefix)) && isLabelName(name);
}

export const isLabelValue = (s: string) => s === '' || isLabelName(s);

const isLabelName = (s: string) => s.length <= 63 && /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(s);

/** A name of an environment variable as Kubernetes allows it: any printable ASCII but "=". */
export const isEnvVarName = (s: string) => /^[ -<>-~]+$/.test(s);

export const dns1035Words =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name'), at most 63 characters";
export const dns1123Words =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name'), at most 63 characters";
/** Kubernetes' own words to the letter: Knative's conformance suite compares them. */
export const subdomainWords =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
export const qualifiedNameWords =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, at most 63 characters, with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
export const labelValueWords =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, at most 63 characters";
