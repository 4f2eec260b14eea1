import type { Context, Hono } from 'hono';
import { EbbError } from '../platform/errors.ts';
import type { Kind } from '../resources/api.ts';
import type { KubeObject } from '../resources/index.ts';
import { apiVersionOf } from '../resources/index.ts';
import { admit } from './admission.ts';
import type { ApiEnv, AppOptions } from './app.ts';
import { readObject } from './body.ts';
import { storedCollection, type Collection } from './collection.ts';
import { crdCollection } from './crds.ts';
import { readDeleteOptions } from './delete-options.ts';
import { pathOf } from './discovery.ts';
import { readApply, readPatch } from './patch.ts';
import { podCollection } from './pods.ts';
import { fieldManagerOf, fieldValidationOf, forceOf, isDryRun, listQuery, type ListQuery } from './query.ts';
import { detailsOf, methodNotAllowed, notFound, success } from './status.ts';
import { formOf, metadataOf, tableOf, type Form } from './table.ts';
import { watchResponse } from './watch-response.ts';
import { createWriter, type Target, type WriteOptions } from './write.ts';

type Ctx = Context<ApiEnv>;

/** The REST routes of every kind. */
export function resourceRoutes(app: Hono<ApiEnv>, options: AppOptions): void {
  for (const kind of options.kinds) {
    const base = pathOf(kind.group, kind.version);
    if (kind.source === 'review') mountReview(app, `${base}/${kind.plural}`, kind);
    const collection = collectionOf(kind, options);
    if (!collection) continue;
    const scope = kind.namespaced ? `${base}/namespaces/:namespace/${kind.plural}` : `${base}/${kind.plural}`;
    if (kind.namespaced) app.get(`${base}/${kind.plural}`, (c) => listOrWatch(c, kind, collection, options));
    mount(app, scope, kind, collection, options);
  }
}

function collectionOf(kind: Kind, { store, kinds, views, clock, signal }: AppOptions): Collection | undefined {
  if (kind.source === 'stored') return storedCollection(store, kind);
  if (kind.source === 'kinds') return crdCollection(kinds, clock.now());
  if (kind.source !== 'pods' || !views.pods) return undefined;
  const pods = podCollection(views.pods, clock);
  signal.addEventListener('abort', () => pods[Symbol.dispose](), { once: true });
  return pods;
}

/** A question: POST answers it, and that is all there is. */
function mountReview(app: Hono<ApiEnv>, path: string, kind: Kind): void {
  app.post(path, async (c) => {
    const user = c.get('user');
    const { fieldValidation } = writeOptions(c);
    const body = await readObject(c.req.raw);
    const none = { namespace: undefined, name: undefined, previous: undefined };
    const { object } = admit({ kind, body, user: user.name, fieldValidation, ...none });
    return c.json(kind.review ? kind.review(object, user) : object, 201);
  });
}

function mount(app: Hono<ApiEnv>, scope: string, kind: Kind, collection: Collection, options: AppOptions): void {
  const writer = createWriter(kind, options);
  const allows = (verb: Kind['verbs'][number]) => {
    if (!kind.verbs.includes(verb)) throw methodNotAllowed(kind, verb);
  };
  const answer = (
    c: Ctx,
    { object, warnings }: { object: KubeObject; warnings: string[] },
    status: 200 | 201 = 200,
  ) => {
    for (const warning of warnings) c.header('warning', `299 - ${JSON.stringify(warning)}`, { append: true });
    return show(c, kind, kind.present ? kind.present(object) : object, options, status);
  };

  app.get(scope, (c) => listOrWatch(c, kind, collection, options));
  app.post(scope, async (c) => {
    allows('create');
    return answer(c, await writer.create(targetOf(c), await readObject(c.req.raw), writeOptions(c)), 201);
  });
  app.delete(scope, async (c) => {
    allows('deletecollection');
    const { options: how, dryRun } = await readDeleteOptions(c.req.raw, queryOf(c));
    const { matches } = listQuery(queryOf(c), kind);
    const { items } = await collection.list({ namespace: targetOf(c).namespace, ...(matches ? { matches } : {}) });
    for (const { metadata } of items) {
      const target = { namespace: metadata.namespace, name: metadata.name };
      // Gone meanwhile, perhaps with its owner from this very list: that is what was asked for.
      await writer.remove(target, { ...how }, dryRun).catch(ignoreNotFound);
    }
    return c.json(listOf(kind, items, {}));
  });

  app.get(`${scope}/:name`, async (c) => {
    const { namespace, name } = targetOf(c);
    const object = await collection.get(namespace, name);
    if (!object) throw notFound(kind, name);
    return show(c, kind, object, options, 200);
  });
  app.put(`${scope}/:name`, async (c) => {
    allows('update');
    return answer(c, await writer.replace(targetOf(c), await readObject(c.req.raw), writeOptions(c)));
  });
  app.patch(`${scope}/:name`, async (c) => {
    allows('patch');
    const config = await readApply(c.req.raw);
    const force = forceOf(queryOf(c), config !== undefined);
    if (config) {
      const applied = await writer.apply(targetOf(c), config, { ...writeOptions(c, 'required'), force });
      return answer(c, applied, applied.created ? 201 : 200);
    }
    return answer(c, await writer.patch(targetOf(c), await readPatch(c.req.raw, kind), writeOptions(c)));
  });
  app.delete(`${scope}/:name`, async (c) => {
    allows('delete');
    const target = targetOf(c);
    const { options: how, dryRun } = await readDeleteOptions(c.req.raw, queryOf(c));
    const before = await writer.remove(target, how, dryRun);
    const left = dryRun ? undefined : await collection.get(target.namespace, target.name);
    // Held by finalizers: the object itself tells the client how far it is.
    if (left && left.metadata.uid === before.metadata.uid) return show(c, kind, left, options, 200);
    return c.json(success({ ...detailsOf(kind, target.name), uid: before.metadata.uid }));
  });

  if (!kind.status) return;
  app.get(`${scope}/:name/status`, async (c) => {
    const { namespace, name } = targetOf(c);
    const object = await collection.get(namespace, name);
    if (!object) throw notFound(kind, name);
    return show(c, kind, object, options, 200);
  });
  app.put(`${scope}/:name/status`, async (c) =>
    answer(c, await writer.replaceStatus(targetOf(c), await readObject(c.req.raw), writeOptions(c))),
  );
  app.patch(`${scope}/:name/status`, async (c) =>
    answer(c, await writer.patchStatus(targetOf(c), await readPatch(c.req.raw, kind), writeOptions(c))),
  );
}

async function listOrWatch(c: Ctx, kind: Kind, collection: Collection, options: AppOptions): Promise<Response> {
  const query = listQuery(queryOf(c), kind);
  const form = requestedForm(c);
  const namespace = c.req.param('namespace');
  if (query.watch) {
    const { clock, logger, signal } = options;
    return watchResponse({ kind, collection, namespace, query, form, clock, logger, signal });
  }
  const result = await collection.list({
    namespace,
    ...(query.matches ? { matches: query.matches } : {}),
    ...(query.limit ? { limit: query.limit } : {}),
    ...(query.continueToken ? { continueToken: query.continueToken } : {}),
  });
  checkVersion(query, result.resourceVersion);
  const metadata = {
    resourceVersion: result.resourceVersion,
    ...(result.continueToken ? { continue: result.continueToken } : {}),
  };
  if (form.as === 'table')
    return c.json(tableOf(kind, result.items, metadata, form.include, options.clock.now()) as object);
  if (form.as === 'metadata') {
    const items = result.items.map(metadataOf);
    return c.json({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata, items });
  }
  return c.json(listOf(kind, result.items, metadata));
}

/** Lists are always of now: a version of the future is refused as Kubernetes does, so is the exact past. */
function checkVersion(query: ListQuery, now: string): void {
  if (query.resourceVersion === undefined || query.continueToken) return;
  if (Number(query.resourceVersion) > Number(now)) {
    throw new EbbError('Timeout', 504, `Too large resource version: ${query.resourceVersion}, current: ${now}`);
  }
  if (query.resourceVersionMatch === 'Exact' && query.resourceVersion !== now) {
    throw new EbbError('Expired', 410, `too old resource version: ${query.resourceVersion} (current: ${now})`);
  }
}

function listOf(kind: Kind, items: readonly KubeObject[], metadata: object): object {
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind.group, kind.version), metadata, items };
}

function show(c: Ctx, kind: Kind, object: KubeObject, options: AppOptions, status: 200 | 201): Response {
  const form = requestedForm(c);
  if (form.as === 'metadata') return c.json(metadataOf(object) as object, status);
  if (form.as === 'object') return c.json(object, status);
  const metadata = { resourceVersion: object.metadata.resourceVersion };
  return c.json(tableOf(kind, [object], metadata, form.include, options.clock.now()) as object, status);
}

function requestedForm(c: Ctx): Form {
  const form = formOf(c.req.header('accept'), c.req.query('includeObject'));
  if (form) return form;
  throw new EbbError('NotAcceptable', 406, 'only the following media types are accepted: application/json');
}

const queryOf = (c: Ctx) => (name: string) => c.req.query(name);

function targetOf(c: Ctx): Target {
  return { namespace: c.req.param('namespace'), name: c.req.param('name') ?? '' };
}

function writeOptions(c: Ctx, manager?: 'required'): WriteOptions {
  const query = queryOf(c);
  return {
    user: c.get('user').name,
    dryRun: isDryRun(query),
    fieldValidation: fieldValidationOf(query),
    manager: fieldManagerOf(query, manager === 'required' ? undefined : (c.req.header('user-agent') ?? 'unknown')),
  };
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof EbbError && error.code === 'NotFound')) throw error;
}
