/** The API group of an apiVersion: `serving.knative.dev/v1` -> `serving.knative.dev`; core (`v1`) is "". */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

/** `serving.knative.dev`, `v1` -> `serving.knative.dev/v1`; the core group has no prefix. */
export function apiVersionOf(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}
