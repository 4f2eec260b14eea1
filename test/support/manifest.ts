import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** A Knative Service manifest in a file of its own. */
export function serviceYaml(service: {
  name: string;
  image: string;
  annotations?: Record<string, string>;
  env?: Record<string, string>;
  readinessPath?: string;
}): { file: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), 'ebb-manifest-'));
  const file = join(dir, 'service.yaml');
  const container = {
    image: service.image,
    env: Object.entries(service.env ?? {}).map(([name, value]) => ({ name, value })),
    ...(service.readinessPath ? { readinessProbe: { httpGet: { path: service.readinessPath } } } : {}),
  };
  const object = {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name: service.name },
    spec: { template: { metadata: { annotations: service.annotations ?? {} }, spec: { containers: [container] } } },
  };
  writeFileSync(file, stringify(object));
  return { file, remove: () => rmSync(dir, { recursive: true, force: true }) };
}
