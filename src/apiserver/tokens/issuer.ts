import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../../platform/clock.ts';
import { readIfThere, writeSecretFile } from '../secret-file.ts';

/** Who a token is for. */
export interface ServiceAccountIdentity {
  namespace: string;
  name: string;
  uid: string;
}

export interface IssueOptions {
  /** Who shall accept it; the API server itself unless given. */
  audiences?: readonly string[];
  expirationSeconds: number;
}

/** Makes and checks the tokens of service accounts: signed JWTs (RFC 7519, ES256), as Kubernetes' are. */
export interface TokenIssuer {
  issue(account: ServiceAccountIdentity, options: IssueOptions): { token: string; expiresMs: number };
  /** Whose token it is, if it was made here, has not expired and is meant for the API server. */
  verify(token: string): ServiceAccountIdentity | undefined;
  /** The public key as a JSON Web Key Set (RFC 7517), for others to check tokens with. */
  readonly jwks: { keys: object[] };
  readonly issuer: string;
}

/** `iss`, and the audience of the API server: the names that Kubernetes uses inside a cluster. */
const issuer = 'https://kubernetes.default.svc.cluster.local';

const maxTokenLength = 8192;

/** Tokens signed by the key in `dir/service-account.key` (mode 0600), which is made when there is none. */
export async function openTokenIssuer({ dir, clock }: { dir: string; clock: Clock }): Promise<TokenIssuer> {
  const privateKey = await ensureKey(join(dir, 'service-account.key'));
  const publicKey = createPublicKey(privateKey);
  const jwk = publicKey.export({ format: 'jwk' });
  // RFC 7638: the required members in alphabetical order.
  const thumbprint = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y });
  const kid = createHash('sha256').update(thumbprint).digest('base64url');
  const header = encode({ alg: 'ES256', kid, typ: 'JWT' });

  return {
    issuer,
    jwks: { keys: [{ ...jwk, use: 'sig', alg: 'ES256', kid }] },
    issue({ namespace, name, uid }, { audiences = [issuer], expirationSeconds }) {
      const now = Math.floor(clock.now() / 1000);
      const payload = encode({
        iss: issuer,
        sub: `system:serviceaccount:${namespace}:${name}`,
        aud: audiences,
        iat: now,
        nbf: now,
        exp: now + expirationSeconds,
        jti: randomUUID(),
        'kubernetes.io': { namespace, serviceaccount: { name, uid } },
      });
      const signature = sign('sha256', Buffer.from(`${header}.${payload}`), signing(privateKey)).toString('base64url');
      return { token: `${header}.${payload}.${signature}`, expiresMs: (now + expirationSeconds) * 1000 };
    },
    verify(token) {
      if (token.length > maxTokenLength) return undefined;
      const [given, payload = '', signature = '', ...more] = token.split('.');
      // One key and one algorithm: a header that says anything else was not written here.
      if (given !== header || more.length > 0) return undefined;
      const bytes = Buffer.from(signature, 'base64url');
      if (!verify('sha256', Buffer.from(`${header}.${payload}`), signing(publicKey), bytes)) return undefined;
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Claims;
      const now = clock.now() / 1000;
      if (claims.iss !== issuer || !claims.aud.includes(issuer) || claims.nbf > now || claims.exp <= now)
        return undefined;
      const { namespace, serviceaccount } = claims['kubernetes.io'];
      return { namespace, ...serviceaccount };
    },
  };
}

/** What is inside of a token whose signature is right. */
interface Claims {
  iss: string;
  aud: string[];
  nbf: number;
  exp: number;
  'kubernetes.io': { namespace: string; serviceaccount: { name: string; uid: string } };
}

/** JWS (RFC 7518, section 3.4) has the two numbers of the signature side by side, not in DER. */
const signing = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' as const });

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function ensureKey(file: string): Promise<KeyObject> {
  const present = await readIfThere(file);
  try {
    if (present !== undefined) return createPrivateKey(present);
  } catch {
    // Damaged: a new key is made, and the tokens of the old one are void.
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeSecretFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  return privateKey;
}
