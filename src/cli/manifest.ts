import type { ScalarTag } from 'yaml';
import { usageError } from './exit.ts';
import type { KubeObject } from './kube.ts';
import { isObject } from './merge.ts';

/**
 * The objects of a YAML (1.2, so JSON too) text of one or several documents; Lists are opened. Empty documents do not
 * count. Throws EbbError Usage with file, line and column of what is wrong.
 */
export async function parseManifest(text: string, source: string): Promise<KubeObject[]> {
  const { parseAllDocuments, LineCounter } = await import('yaml');
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter, uniqueKeys: true, customTags: (tags) => [octal, ...tags] });
  const objects: KubeObject[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error) {
      const { line, col } = lineCounter.linePos(error.pos[0]);
      throw usageError(`${source}:${line}:${col}: ${error.message.split(/ at line |\n/)[0] ?? 'not YAML'}`);
    }
    const start = lineCounter.linePos(document.contents?.range?.[0] ?? 0).line;
    // maxAliasCount stops a few lines of aliases from growing into gigabytes.
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value !== null && value !== undefined) objects.push(...objectsOf(value, `${source}:${start}`));
  }
  if (objects.length === 0) throw usageError(`${source} holds no object`);
  return objects;
}

/** YAML 1.1's octal numbers, as kubectl reads them: in manifests `defaultMode: 0400` is a file mode, not four hundred. */
const octal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^0[0-7]+$/,
  resolve: (text) => Number.parseInt(text, 8),
};

function objectsOf(value: unknown, where: string): KubeObject[] {
  if (!isObject(value)) throw usageError(`${where}: a document must be an object with apiVersion, kind and metadata`);
  const { apiVersion, kind, metadata, items } = value;
  for (const [field, held] of Object.entries({ apiVersion, kind })) {
    if (typeof held !== 'string' || held === '') throw usageError(`${where}: ${field} is missing`);
  }
  if (kind === 'List' && Array.isArray(items)) {
    return items.flatMap((item, i) => objectsOf(item, `${where} items[${i}]`));
  }
  if (!isObject(metadata) || typeof metadata['name'] !== 'string' || metadata['name'] === '') {
    throw usageError(`${where}: metadata.name is missing`);
  }
  return [value as unknown as KubeObject];
}
