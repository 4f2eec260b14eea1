import { EbbError } from '../platform/errors.ts';
import { readIfThere, writeSecretFile } from './secret-file.ts';

export interface KubeAccess {
  /** `https://127.0.0.1:8470`. */
  server: string;
  /** PEM. */
  ca: string;
  token: string;
}

/** A kubeconfig with one cluster, one user and one context, all called `ebb`. */
export function kubeconfigText({ server, ca, token }: KubeAccess): string {
  // JSON is YAML: strings are quoted right whatever they hold.
  const value = JSON.stringify;
  return `apiVersion: v1
kind: Config
current-context: ebb
clusters:
- name: ebb
  cluster:
    server: ${value(server)}
    certificate-authority-data: ${Buffer.from(ca).toString('base64')}
contexts:
- name: ebb
  context:
    cluster: ebb
    user: ebb
    namespace: default
users:
- name: ebb
  user:
    token: ${value(token)}
`;
}

export async function writeKubeconfig(file: string, access: KubeAccess): Promise<void> {
  await writeSecretFile(file, kubeconfigText(access));
}

interface KubeconfigFile {
  'current-context'?: string;
  clusters?: { name?: string; cluster?: { server?: string; 'certificate-authority-data'?: string } }[];
  contexts?: { name?: string; context?: { cluster?: string; user?: string } }[];
  users?: { name?: string; user?: { token?: string } }[];
}

/**
 * How to reach the server of a kubeconfig's current context. Reads what {@link writeKubeconfig} writes and any other
 * with inline authority and token. Throws EbbError KubeconfigMissing or KubeconfigInvalid.
 */
export async function readKubeconfig(file: string): Promise<KubeAccess> {
  const text = await readIfThere(file);
  if (text === undefined) {
    throw new EbbError('KubeconfigMissing', 404, `there is no kubeconfig at ${file}: start Ebb with "ebb up"`);
  }
  const { parse } = await import('yaml');
  let config: KubeconfigFile | null;
  try {
    config = parse(text) as KubeconfigFile | null;
  } catch (cause) {
    throw invalid(file, 'it is not YAML', cause);
  }
  const context = config?.contexts?.find((c) => c.name === config['current-context'])?.context;
  const cluster = config?.clusters?.find((c) => c.name === context?.cluster)?.cluster;
  const token = config?.users?.find((u) => u.name === context?.user)?.user?.token;
  if (!cluster?.server || !cluster['certificate-authority-data'] || !token) {
    throw invalid(file, 'its current context has no server, certificate authority or token');
  }
  const ca = Buffer.from(cluster['certificate-authority-data'], 'base64').toString();
  return { server: cluster.server, ca, token };
}

function invalid(file: string, why: string, cause?: unknown): EbbError {
  return new EbbError('KubeconfigInvalid', 400, `the kubeconfig at ${file} cannot be used: ${why}`, { cause });
}
