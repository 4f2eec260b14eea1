import type { Hono } from 'hono';
import { Type } from 'typebox';
import { EbbError } from '../../platform/errors.ts';
import { checkShape, fieldErrorsText, type Kind } from '../../resources/api.ts';
import { timestamp } from '../../resources/index.ts';
import type { ResourceStore } from '../../store/store.ts';
import type { ApiEnv } from '../app.ts';
import { readObject } from '../body.ts';
import { notFound } from '../status.ts';
import type { TokenIssuer } from './issuer.ts';

const defaultSeconds = 3600;
/** Kubernetes' least, and a year. */
const [minSeconds, maxSeconds] = [600, 365 * 86_400];

const TokenRequestSpec = Type.Object(
  {
    audiences: Type.Optional(Type.Array(Type.String())),
    expirationSeconds: Type.Optional(Type.Integer()),
  },
  { 'x-ebb-refused': ['boundObjectRef'] },
);

/** `POST .../serviceaccounts/NAME/token` (`kubectl create token`), and the keys to check tokens with (OpenID discovery). */
export function tokenRoutes(
  app: Hono<ApiEnv>,
  kind: Kind,
  { tokens, store }: { tokens: TokenIssuer; store: ResourceStore },
): void {
  app.post('/api/v1/namespaces/:namespace/serviceaccounts/:name/token', async (c) => {
    const { namespace, name } = c.req.param();
    const account = await store.get({ group: '', kind: 'ServiceAccount', namespace, name });
    if (!account) throw notFound(kind, name);
    const { audiences, expirationSeconds } = specOf(await readObject(c.req.raw));
    const identity = { namespace, name, uid: account.metadata.uid ?? '' };
    const given = audiences?.length ? { audiences } : {};
    const { token, expiresMs } = tokens.issue(identity, { ...given, expirationSeconds });
    return c.json(
      {
        kind: 'TokenRequest',
        apiVersion: 'authentication.k8s.io/v1',
        metadata: { name, namespace, creationTimestamp: null },
        spec: { audiences: audiences?.length ? audiences : [tokens.issuer], expirationSeconds },
        status: { token, expirationTimestamp: timestamp(expiresMs) },
      },
      201,
    );
  });

  app.get('/openid/v1/jwks', (c) => c.json(tokens.jwks, 200, { 'content-type': 'application/jwk-set+json' }));
  app.get('/.well-known/openid-configuration', (c) =>
    c.json({
      issuer: tokens.issuer,
      jwks_uri: new URL('/openid/v1/jwks', c.req.url).href,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    }),
  );
}

function specOf(body: Record<string, unknown>): { audiences?: string[]; expirationSeconds: number } {
  const { value, errors } = checkShape(TokenRequestSpec, body['spec'] ?? {});
  if (errors.length > 0) throw invalid(fieldErrorsText(errors));
  const { audiences, expirationSeconds = defaultSeconds } = value as Partial<ReturnType<typeof specOf>>;
  if (audiences && (audiences.length > 10 || audiences.some((a) => a.length > 1000))) {
    throw invalid('spec.audiences: at most 10 of at most 1000 characters');
  }
  if (expirationSeconds < minSeconds)
    throw invalid('spec.expirationSeconds: may not specify a duration less than 10 minutes');
  if (expirationSeconds > maxSeconds)
    throw invalid('spec.expirationSeconds: may not specify a duration larger than a year');
  return { ...(audiences ? { audiences } : {}), expirationSeconds };
}

function invalid(why: string): EbbError {
  return new EbbError('Invalid', 422, `TokenRequest.authentication.k8s.io "" is invalid: ${why}`);
}
