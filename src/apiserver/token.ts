import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import type { Authenticate, User } from './app.ts';
import { readIfThere, writeSecretFile } from './secret-file.ts';

/** 256 random bits as base64url: 43 characters. */
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;

/** The administrator's bearer token in `dir/admin.token` (mode 0600), made when there is none. */
export async function ensureToken(dir: string): Promise<string> {
  const file = join(dir, 'admin.token');
  const present = (await readIfThere(file))?.trim();
  if (present !== undefined && tokenPattern.test(present)) return present;
  const token = randomBytes(32).toString('base64url');
  await writeSecretFile(file, `${token}\n`);
  return token;
}

/** The user that the one token of this Ebb stands for. */
export const administrator: User = { name: 'kubernetes-admin', groups: ['system:masters', 'system:authenticated'] };

/** Recognises one bearer token (RFC 6750), in a time that does not depend on where a wrong one differs. */
export function bearerToken(token: string, user: User = administrator): Authenticate {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  const expected = hash(token);
  return (request) => {
    const given = bearerOf(request);
    return given !== undefined && timingSafeEqual(hash(given), expected) ? user : undefined;
  };
}

/** The token that a request carries, if it is one by its form. */
export function bearerOf(request: Request): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(request.headers.get('authorization') ?? '')?.[1];
}
