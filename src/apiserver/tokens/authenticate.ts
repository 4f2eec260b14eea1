import type { ResourceStore } from '../../store/store.ts';
import type { Authenticate } from '../app.ts';
import { bearerOf } from '../token.ts';
import type { TokenIssuer } from './issuer.ts';

/** Recognises the tokens of service accounts that are still there: a token goes with its account. */
export function serviceAccountTokens(issuer: TokenIssuer, store: ResourceStore): Authenticate {
  return async (request) => {
    const token = bearerOf(request);
    const account = token === undefined ? undefined : issuer.verify(token);
    if (!account) return undefined;
    const { namespace, name, uid } = account;
    const stored = await store.get({ group: '', kind: 'ServiceAccount', namespace, name });
    if (stored?.metadata.uid !== uid) return undefined;
    return {
      name: `system:serviceaccount:${namespace}:${name}`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    };
  };
}

/** Whoever the first that knows the request says. */
export function anyOf(...ways: readonly Authenticate[]): Authenticate {
  return async (request) => {
    for (const way of ways) {
      const user = await way(request);
      if (user) return user;
    }
    return undefined;
  };
}
