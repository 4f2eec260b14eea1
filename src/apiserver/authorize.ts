import { EbbError } from '../platform/errors.ts';
import { isAdministrator } from '../resources/api.ts';
import type { User } from './app.ts';

/** What everybody who is known may read: what there is, in which version, and the keys of tokens. */
const readable =
  /^\/(version|openapi(\/.*)?|openid\/v1\/jwks|\.well-known\/openid-configuration|api(\/v1)?|apis(\/[^/]+){0,2})$/;

/** Questions about oneself. */
const reviews = /^\/apis\/(authorization|authentication)\.k8s\.io\/v1\/selfsubject[a-z]+$/;

/** The administrator may do everything, others look at what there is and ask who they are. Throws EbbError Forbidden. */
export function authorize(user: User, method: string, path: string): void {
  if (isAdministrator(user)) return;
  if ((method === 'GET' || method === 'HEAD') && readable.test(path)) return;
  if (method === 'POST' && reviews.test(path)) return;
  const verb = method.toLowerCase().slice(0, 10);
  throw new EbbError(
    'Forbidden',
    403,
    `forbidden: User "${user.name}" cannot ${verb} path "${path.slice(0, 300)}": only the administrator may`,
  );
}
