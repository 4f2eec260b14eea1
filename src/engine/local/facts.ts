import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';

/** What one process must leave behind about a sandbox so that the next one can take it over. */
export interface Facts {
  version: 1;
  id: string;
  namespace: string;
  service: string;
  revision: string;
  /** uid of the Revision. */
  uid: string;
  container: string;
  port: number;
  /** Number of its network slot. */
  net: number;
  createdAtMs: number;
  startedAtMs?: number;
  readyAtMs?: number;
  /** How many failed in its place before it; absent for none. */
  restarts?: number;
  /** `References.version` of what it was made of; absent when it needed nothing. */
  references?: string;
  /** It was being stopped: the next process goes on with that. */
  ending?: true;
}

const file = 'facts.json';

export async function writeFacts(dir: string, facts: Facts): Promise<void> {
  const temporary = join(dir, `${file}.${randomBytes(4).toString('hex')}`);
  await writeFile(temporary, JSON.stringify(facts));
  // A sandbox taken apart meanwhile has no folder any more; its facts are of no use either.
  await rename(temporary, join(dir, file)).catch(() => rm(temporary, { force: true }));
}

/** Facts of every sandbox below `root`; undefined for a folder whose facts are missing or broken. */
export async function readAllFacts(root: string): Promise<{ id: string; facts: Facts | undefined }[]> {
  const ids = await readdir(root).catch(() => []); // first start: not made yet
  return Promise.all(ids.map(async (id) => ({ id, facts: await readFacts(join(root, id), id) })));
}

async function readFacts(dir: string, id: string): Promise<Facts | undefined> {
  try {
    const facts = JSON.parse(await readFile(join(dir, file), 'utf8')) as Facts;
    const whole = facts.version === 1 && facts.id === id && Number.isInteger(facts.net) && Number.isInteger(facts.port);
    return whole ? facts : undefined;
  } catch {
    return undefined; // written by a process that was killed in the middle, or by another version
  }
}
