import type { Hono } from 'hono';
import { EbbError } from '../platform/errors.ts';
import { apiVersionOf } from '../resources/index.ts';
import type { Kind } from '../resources/api.ts';
import type { ApiEnv } from './app.ts';
import { pathOf } from './discovery.ts';
import { patchTypesOf } from './patch.ts';

type Json = { [key: string]: unknown };

/**
 * `/openapi/v3` (an index and a document for each group and version) and `/openapi/v2`, made from the kinds' schemas.
 * kubectl reads them for `explain` and to learn that the server validates fields itself.
 */
export function openApiRoutes(app: Hono<ApiEnv>, kinds: readonly Kind[], version: string): void {
  const groupVersions = [...new Map(kinds.map((k) => [pathOf(k.group, k.version), k])).entries()];
  app.get('/openapi/v3', (c) =>
    c.json({
      paths: Object.fromEntries(
        groupVersions.map(([path]) => [path.slice(1), { serverRelativeURL: `/openapi/v3${path}?hash=${version}` }]),
      ),
    }),
  );
  for (const [path, { group, version: v }] of groupVersions) {
    // Made when it is first asked for, then kept: it never changes while the server runs.
    let document: string | undefined;
    app.get(`/openapi/v3${path}`, (c) => {
      document ??= JSON.stringify(
        documentV3(
          kinds.filter((k) => k.group === group && k.version === v),
          version,
        ),
      );
      return c.body(document, 200, { 'content-type': 'application/json' });
    });
  }
  let swagger: string | undefined;
  app.get('/openapi/v2', (c) => {
    const accept = c.req.header('accept') ?? '*/*';
    if (!/application\/json|\*\/\*/.test(accept)) {
      throw new EbbError('NotAcceptable', 406, '/openapi/v2 is served as application/json only; use /openapi/v3');
    }
    swagger ??= JSON.stringify(documentV2(kinds, version));
    return c.body(swagger, 200, { 'content-type': 'application/json' });
  });
}

function documentV3(kinds: readonly Kind[], version: string): Json {
  const schemas = Object.fromEntries(
    kinds.flatMap((kind) => {
      const list = {
        type: 'object',
        description: `A list of ${kind.kind} objects.`,
        properties: { items: { type: 'array', items: { $ref: `#/components/schemas/${schemaName(kind)}` } } },
        ...gvk(kind, 'List'),
      };
      return [
        [schemaName(kind), { ...publish(kind.schema), ...gvk(kind) }],
        [`${schemaName(kind)}List`, list],
      ];
    }),
  );
  const responses = (kind: Kind, list = false) => ({
    '200': {
      description: 'OK',
      content: {
        'application/json': { schema: { $ref: `#/components/schemas/${schemaName(kind)}${list ? 'List' : ''}` } },
      },
    },
  });
  const parameter = (name: string) => ({ name, in: 'query', schema: { type: 'string' } });
  const paths = pathsOf(kinds, (kind, verb) => ({
    operationId: `${verb}${kind.kind}`,
    'x-kubernetes-action': verb,
    'x-kubernetes-group-version-kind': gvkOf(kind),
    parameters: parametersOf(verb).map(parameter),
    ...(verb === 'patch'
      ? {
          requestBody: {
            content: Object.fromEntries(patchTypesOf(kind).map((t) => [t, { schema: { type: 'object' } }])),
          },
        }
      : {}),
    ...(verb === 'post' || verb === 'put'
      ? { requestBody: { content: { '*/*': { schema: { $ref: `#/components/schemas/${schemaName(kind)}` } } } } }
      : {}),
    responses: responses(kind, verb === 'list'),
  }));
  return { openapi: '3.0.0', info: { title: 'Ebb', version }, paths, components: { schemas } };
}

function documentV2(kinds: readonly Kind[], version: string): Json {
  const definitions = Object.fromEntries(kinds.map((k) => [schemaName(k), { ...publish(k.schema), ...gvk(k) }]));
  const paths = pathsOf(kinds, (kind, verb) => ({
    operationId: `${verb}${kind.kind}`,
    'x-kubernetes-group-version-kind': gvkOf(kind),
    parameters: parametersOf(verb).map((name) => ({ name, in: 'query', type: 'string' })),
    responses: { '200': { description: 'OK', schema: { $ref: `#/definitions/${schemaName(kind)}` } } },
  }));
  return { swagger: '2.0', info: { title: 'Ebb', version }, paths, definitions };
}

type Operation = 'list' | 'get' | 'post' | 'put' | 'patch' | 'delete';

function pathsOf(kinds: readonly Kind[], operation: (kind: Kind, verb: Operation) => Json): Json {
  const entries = kinds.flatMap((kind): [string, Json][] => {
    const base = pathOf(kind.group, kind.version);
    const collection = `${base}/${kind.namespaced ? 'namespaces/{namespace}/' : ''}${kind.plural}`;
    const on = (verb: Operation, needed: Kind['verbs'][number]) =>
      kind.verbs.includes(needed) ? { [verb === 'list' ? 'get' : verb]: operation(kind, verb) } : {};
    return [
      [collection, { ...on('list', 'list'), ...on('post', 'create') }],
      [
        `${collection}/{name}`,
        { ...on('get', 'get'), ...on('put', 'update'), ...on('patch', 'patch'), ...on('delete', 'delete') },
      ],
    ];
  });
  return Object.fromEntries(entries);
}

function parametersOf(verb: Operation): string[] {
  switch (verb) {
    case 'list':
      return ['labelSelector', 'fieldSelector', 'limit', 'continue', 'watch', 'resourceVersion'];
    case 'post':
    case 'put':
    case 'patch':
      // kubectl looks for this one on PATCH, and leaves validation to the server where it finds it.
      return ['dryRun', 'fieldValidation', 'fieldManager', ...(verb === 'patch' ? ['force'] : [])];
    case 'delete':
      return ['dryRun', 'propagationPolicy', 'gracePeriodSeconds'];
    case 'get':
      return [];
  }
}

const gvkOf = (kind: Kind, suffix = '') => ({ group: kind.group, version: kind.version, kind: kind.kind + suffix });
const gvk = (kind: Kind, suffix = '') => ({ 'x-kubernetes-group-version-kind': [gvkOf(kind, suffix)] });

/** `dev.knative.serving.v1.Service`: Kubernetes' way of naming definitions. */
function schemaName(kind: Kind): string {
  const group = kind.group === '' ? 'io.k8s.api.core' : kind.group.split('.').reverse().join('.');
  return `${group}.${apiVersionOf('', kind.version)}.${kind.kind}`;
}

/** A schema as the world may see it: typebox's and Ebb's own keywords left out. */
export function publish(schema: unknown): Json {
  // JSON leaves out typebox's symbols and functions.
  return JSON.parse(
    JSON.stringify(schema, (key, value: unknown) =>
      key.startsWith('~') || key.startsWith('x-ebb-') ? undefined : value,
    ),
  ) as Json;
}
