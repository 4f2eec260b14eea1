import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../platform/clock.ts';
import { EbbError } from '../platform/errors.ts';
import { checkShape, type Kind } from '../resources/api.ts';
import { timestamp, type KubeObject } from '../resources/index.ts';
import {
  born,
  checkPreconditions,
  describeKey,
  statusUpdated,
  updated,
  type StoredObject,
} from '../store/lifecycle.ts';
import type { DeleteOptions, ObjectKey, ResourceStore } from '../store/store.ts';
import { admit, shapeConfig, type Admitted, type FieldValidation } from './admission.ts';
import type { Patch } from './patch.ts';
import { furnish, isNamespace } from './permanent.ts';
import { badRequest, detailsOf, notFound, resourceName } from './status.ts';

type Json = Record<string, unknown>;

export interface Target {
  namespace: string | undefined;
  name: string;
}

export interface WriteOptions {
  user: string;
  /** Everything but the storing. */
  dryRun: boolean;
  fieldValidation: FieldValidation;
  /** Whose fields it makes them (`fieldManager`). */
  manager: string;
}

export interface Writer {
  create(target: Target, body: Json, options: WriteOptions): Promise<Admitted>;
  replace(target: Target, body: Json, options: WriteOptions): Promise<Admitted>;
  patch(target: Target, patch: Patch, options: WriteOptions): Promise<Admitted>;
  /** Server-side apply: makes the object, or makes it so. */
  apply(
    target: Target,
    config: Json,
    options: WriteOptions & { force: boolean },
  ): Promise<Admitted & { created: boolean }>;
  replaceStatus(target: Target, body: Json, options: WriteOptions): Promise<Admitted>;
  patchStatus(target: Target, patch: Patch, options: WriteOptions): Promise<Admitted>;
  /** Returns the object as it was. */
  remove(target: Target, how: DeleteOptions, dryRun: boolean): Promise<KubeObject>;
}

export interface WriterParts {
  store: ResourceStore;
  clock: Clock;
  /** Every kind: some come with each namespace. */
  kinds: readonly Kind[];
}

/**
 * A patch without a version of its own is tried again on the newest object so often. Of those that meet, one gets
 * through each time, within a millisecond: Kubernetes' five attempts would refuse the sixth of six.
 */
const patchAttempts = 50;

/** Generated names: letters and digits that make no words and are not confused (apimachinery, util/rand). */
const nameAlphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** The writes of one kind: admission, then the store, with errors in Kubernetes' words. */
export function createWriter(kind: Kind, { store, clock, kinds }: WriterParts): Writer {
  const keyOf = ({ namespace, name }: Target): ObjectKey => ({ group: kind.group, kind: kind.kind, namespace, name });

  async function mustGet(target: Target): Promise<StoredObject> {
    const object = await store.get(keyOf(target));
    if (!object) throw notFound(kind, target.name);
    return object as StoredObject;
  }

  async function namespaceMustExist(namespace: string | undefined): Promise<void> {
    if (namespace === undefined) return;
    if (await store.get({ group: '', kind: 'Namespace', namespace: undefined, name: namespace })) return;
    const details = { name: namespace, kind: 'namespaces' };
    throw new EbbError('NotFound', 404, `namespaces "${namespace}" not found`, { details });
  }

  /** The store speaks of `Service.serving.knative.dev "a" in namespace "b"`, clients of `services.serving.knative.dev "a"`. */
  async function worded<T>(target: Target, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof EbbError)) throw error;
      const message = error.message.replace(describeKey(keyOf(target)), `${resourceName(kind)} "${target.name}"`);
      const details = { ...error.details, ...detailsOf(kind, target.name) };
      throw new EbbError(error.code, error.status, message, { cause: error, details });
    }
  }

  async function createOnce(
    target: Target,
    body: Json,
    options: WriteOptions,
    owned = (object: KubeObject) => withManagers(object, undefined),
  ): Promise<Admitted> {
    const { dryRun, ...rest } = options;
    const shaped = admit({ kind, namespace: target.namespace, name: undefined, body, previous: undefined, ...rest });
    const admitted = { ...shaped, object: owned(shaped.object) };
    const named = { ...target, name: admitted.object.metadata.name };
    await namespaceMustExist(target.namespace);
    return worded(named, async () => {
      if (!dryRun) {
        const object = await store.create(forgetVersion(admitted.object));
        if (isNamespace(kind)) await furnish(store, kinds, object.metadata.name);
        return { ...admitted, object };
      }
      if (await store.get(keyOf(named)))
        throw new EbbError('AlreadyExists', 409, `${describeKey(keyOf(named))} already exists`);
      return { ...admitted, object: born(admitted.object as StoredObject, randomUid(), clock.now()) };
    });
  }

  async function update(target: Target, previous: StoredObject, body: Json, options: WriteOptions): Promise<Admitted> {
    const admitted = admit({ kind, namespace: target.namespace, name: target.name, body, previous, ...options });
    const object = withManagers(admitted.object, await managersAfter(previous, admitted.object, options.manager));
    return put(target, previous, { ...admitted, object }, options.dryRun);
  }

  async function put(target: Target, previous: StoredObject, admitted: Admitted, dryRun: boolean): Promise<Admitted> {
    const object = admitted.object as StoredObject;
    return worded(target, async () => ({
      ...admitted,
      object: dryRun ? updated(previous, object) : await store.update(object),
    }));
  }

  /** What a client sends as managedFields is not believed; one empty entry, as in Kubernetes, forgets all managers. */
  async function managersAfter(
    previous: StoredObject,
    next: KubeObject,
    manager: string,
  ): Promise<unknown[] | undefined> {
    const forget = isDeepStrictEqual(next.metadata.managedFields, [{}]);
    if (!previous.metadata.managedFields?.length || forget) return undefined;
    const { managedByUpdate } = await import('./apply/apply.ts');
    return managedByUpdate(kind, previous, next, { name: manager, now: timestamp(clock.now()) });
  }

  async function applyOnce(
    target: Target,
    live: StoredObject | undefined,
    given: Json,
    { force, ...options }: WriteOptions & { force: boolean },
  ): Promise<Admitted & { created: boolean }> {
    const { namespace, name } = target;
    const { config, warnings } = shapeConfig({ kind, namespace, name, body: given, previous: live, ...options });
    // Rarely used, and a good deal of code.
    const { planApply } = await import('./apply/apply.ts');
    const now = timestamp(clock.now());
    const { merged, managedFields } = planApply({ kind, live, config, manager: options.manager, force, now });
    if (!live) {
      const owned = (object: KubeObject) => withManagers(object, managedFields(object));
      return { ...(await createOnce({ namespace, name: '' }, merged, options, owned)), warnings, created: true };
    }
    const { object } = admit({ kind, namespace, name, body: merged, previous: live, ...options });
    const admitted = { object: withManagers(object, managedFields(object)), warnings };
    return { ...(await put(target, live, admitted, options.dryRun)), created: false };
  }

  async function updateStatus(
    target: Target,
    previous: StoredObject,
    body: Json,
    { dryRun }: WriteOptions,
  ): Promise<Admitted> {
    const { resourceVersion, uid } = (body['metadata'] ?? {}) as { resourceVersion?: unknown; uid?: unknown };
    const next: StoredObject = { ...previous, metadata: { ...previous.metadata }, status: body['status'] };
    const { value, errors } = checkShape(kind.schema, next);
    if (errors[0]) throw badRequest(`invalid status: ${errors[0].message}: ${errors[0].paths.join(', ')}`);
    const object = value as StoredObject;
    if (typeof resourceVersion === 'string') object.metadata.resourceVersion = resourceVersion;
    else delete object.metadata.resourceVersion;
    if (typeof uid === 'string') object.metadata.uid = uid;
    return worded(target, async () => ({
      object: dryRun ? statusUpdated(previous, object) : await store.updateStatus(object),
      warnings: [],
    }));
  }

  /** Patches the newest object, again when another write came between, unless the patch itself names a version. */
  async function patchWith(
    target: Target,
    patch: Patch,
    write: (previous: StoredObject, body: Json) => Promise<Admitted>,
  ) {
    for (let attempt = 1; ; attempt++) {
      const previous = await mustGet(target);
      const patched = patch(previous);
      if (typeof patched !== 'object' || patched === null || Array.isArray(patched))
        throw badRequest('the patch leaves no object');
      try {
        return await write(previous, patched as Json);
      } catch (error) {
        const { resourceVersion } = ((patched as KubeObject).metadata ?? {}) as { resourceVersion?: unknown };
        const own = resourceVersion !== previous.metadata.resourceVersion;
        if (!isOvertaken(error) || own || attempt === patchAttempts) throw error;
      }
    }
  }

  /** What a namespace always has comes back, unless the namespace itself goes. */
  async function refurnish(namespace: string): Promise<void> {
    const room = await store.get({ group: '', kind: 'Namespace', namespace: undefined, name: namespace });
    if (room && room.metadata.deletionTimestamp === undefined) await furnish(store, [kind], namespace);
  }

  return {
    async create(target, given, options) {
      const metadata = given['metadata'] as { name?: unknown; generateName?: unknown } | null | undefined;
      const prefix = metadata?.generateName;
      if (typeof prefix !== 'string' || prefix === '' || metadata?.name) return createOnce(target, given, options);
      for (let attempt = 1; ; attempt++) {
        const name = prefix.slice(0, 58) + randomSuffix();
        try {
          return await createOnce(target, { ...given, metadata: { ...metadata, name } }, options);
        } catch (error) {
          const taken = error instanceof EbbError && error.code === 'AlreadyExists';
          if (!taken || attempt === patchAttempts) throw error;
        }
      }
    },
    replace: async (target, body, options) => update(target, await mustGet(target), body, options),
    patch: (target, patch, options) =>
      patchWith(target, patch, (previous, body) => update(target, previous, body, options)),
    async apply(target, config, options) {
      const { resourceVersion } = (config['metadata'] ?? {}) as { resourceVersion?: unknown };
      for (let attempt = 1; ; attempt++) {
        const live = (await store.get(keyOf(target))) as StoredObject | undefined;
        if (!live && resourceVersion !== undefined) throw notFound(kind, target.name);
        try {
          return await applyOnce(target, live, config, options);
        } catch (error) {
          if (!isOvertaken(error) || resourceVersion !== undefined || attempt === patchAttempts) throw error;
        }
      }
    },
    replaceStatus: async (target, body, options) => updateStatus(target, await mustGet(target), body, options),
    patchStatus: (target, patch, options) =>
      patchWith(target, patch, (previous, body) => updateStatus(target, previous, body, options)),
    async remove(target, how, dryRun) {
      const before = await mustGet(target);
      if (kind.permanent?.includes(target.name)) {
        throw new EbbError(
          'Forbidden',
          403,
          `${resourceName(kind)} "${target.name}" is forbidden: it may not be deleted`,
        );
      }
      await worded(target, async () => {
        if (dryRun) checkPreconditions(before, how.uid, how.resourceVersion);
        else await store.delete(keyOf(target), how);
        if (!dryRun && kind.inEveryNamespace?.includes(target.name)) await refurnish(target.namespace ?? '');
      });
      return before;
    },
  };
}

/** Someone else's write came between. A conflict of appliers is none of these: it has causes. */
function isOvertaken(error: unknown): boolean {
  if (!(error instanceof EbbError)) return false;
  return error.code === 'AlreadyExists' || (error.code === 'Conflict' && error.details?.['causes'] === undefined);
}

function withManagers(object: KubeObject, managedFields: unknown[] | undefined): KubeObject {
  const { managedFields: _given, ...metadata } = object.metadata;
  return { ...object, metadata: managedFields?.length ? { ...metadata, managedFields } : metadata };
}

/** A new object has no version yet; Kubernetes refuses one, kubectl never sends it, exported manifests often hold it. */
function forgetVersion(object: KubeObject): KubeObject {
  const { resourceVersion: _version, uid: _uid, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function randomSuffix(): string {
  return [...randomBytes(5)].map((byte) => nameAlphabet[byte % nameAlphabet.length]).join('');
}

function randomUid(): string {
  return crypto.randomUUID();
}
