import type { Context } from './context.ts';
import type { KubeList, KubeObject } from './kube.ts';
import { table, type Column } from './table.ts';

export const outputFormats = ['table', 'json', 'yaml', 'name'] as const;
export type OutputFormat = (typeof outputFormats)[number];

/**
 * Prints a list in the format that was asked for: `json` and `yaml` as a Kubernetes List, `name` as one
 * `kind.group/name` a line, `table` with the columns, or `empty` on standard error when there is nothing.
 */
export async function printList<T extends KubeObject>(
  context: Context,
  list: KubeList<T>,
  columns: readonly Column<T>[],
  empty: string,
): Promise<void> {
  switch (context.globals.output) {
    case 'json':
    case 'yaml':
      return printData(context, { apiVersion: 'v1', kind: 'List', ...list });
    case 'name':
      for (const item of list.items) context.out(`${nameOf(item, list)}\n`);
      return;
    case 'table':
      if (list.items.length === 0) context.err(`${empty}\n`);
      else context.out(table(columns, list.items));
  }
}

/** Prints one object; `human` prints it for people. */
export async function printObject(
  context: Context,
  object: KubeObject,
  human: () => void | Promise<void>,
): Promise<void> {
  switch (context.globals.output) {
    case 'json':
    case 'yaml':
      return printData(context, object);
    case 'name':
      return context.out(`${nameOf(object)}\n`);
    case 'table':
      return human();
  }
}

/** Prints any value as JSON, or as YAML when that was asked for. */
export async function printData(context: Context, value: unknown): Promise<void> {
  if (context.globals.output === 'yaml') {
    const { stringify } = await import('yaml');
    context.out(stringify(value));
  } else {
    context.out(`${JSON.stringify(value, null, 2)}\n`);
  }
}

/** `service.serving.knative.dev/hello`, as kubectl names things. Items of a list take their kind from it. */
export function nameOf(object: KubeObject, list?: KubeList): string {
  const kind = (object.kind ?? list?.kind?.replace(/List$/, '') ?? 'object').toLowerCase();
  const group = (object.apiVersion ?? list?.apiVersion ?? '').split('/');
  return `${group.length > 1 ? `${kind}.${group[0]}` : kind}/${object.metadata.name}`;
}
