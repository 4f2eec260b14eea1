import { EbbError } from '../platform/errors.ts';

/*
 * Tar as image layers use it, read and written with nothing lost: names and xattr values are bytes, not text, so they
 * travel as latin1 strings and Buffers. (tar-stream decodes both as UTF-8, which breaks security.capability, and turns
 * mode 0 into 0644, which breaks /etc/shadow.) Formats: POSIX.1-2001 pax, GNU tar, v7; sparse files are refused.
 */

export type TarType = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo';

export interface TarEntry {
  /** Bytes of the name as a latin1 string. */
  path: string;
  type: TarType;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes that follow the header; 0 for all but files. */
  size: number;
  /** Seconds since the epoch, decimal, with up to nine digits after the point. */
  mtime: string;
  /** Of links and symlinks, latin1 as `path`. */
  target: string;
  device: { major: number; minor: number };
  /** Names latin1, as in pax (`user.x`). */
  xattrs: Map<string, Buffer>;
}

const block = 512;
/** Linux allows 64 KiB an xattr value; a header with more than this in all is an attack. */
const largestExtension = 1024 * 1024;
const types: Record<string, TarType> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};
const flags: Record<TarType, string> = {
  file: '0',
  link: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/**
 * Reads a tar stream to its very end (also what follows the end-of-archive blocks, so that a digest over the source is
 * complete). The body of an entry is to be read before the next entry is asked for; what is not read is skipped.
 * Throws EbbError ImageCorrupt for what is not tar, UnsafeLayer for kinds of entries that are not supported.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ entry: TarEntry; body: AsyncIterable<Buffer> }> {
  const reader = new Reader(source);
  try {
    yield* entries(reader);
    await reader.drain();
  } finally {
    await reader.close();
  }
}

async function* entries(reader: Reader): AsyncGenerator<{ entry: TarEntry; body: AsyncIterable<Buffer> }> {
  let extension: Extension = {};
  for (;;) {
    const head = await reader.exactly(block);
    if (head === undefined || isZero(head)) break;
    const header = decodeHeader(head);
    if (header.flag === 'x' || header.flag === 'g' || header.flag === 'L' || header.flag === 'K') {
      if (header.size > largestExtension) throw corrupt(`an extended header has ${header.size} bytes`);
      const data = await reader.exactly(padded(header.size));
      if (data === undefined) throw corrupt('it ends inside an extended header');
      // Global headers carry comments (git archive) and are ignored, as container runtimes do.
      if (header.flag !== 'g')
        extension = { ...extension, ...decodeExtension(header.flag, data.subarray(0, header.size)) };
      continue;
    }
    const entry = toEntry(header, extension);
    extension = {};
    const body = new Body(reader, entry.size);
    yield { entry, body };
    await body.skip();
  }
}

/** One header (with its extended headers) in front of `entry.size` bytes of body and {@link padding}. */
export function encodeTarHeader(entry: TarEntry): Buffer {
  const parts: Buffer[] = [];
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  // GNU long names are bytes; pax names would be converted to the locale's character set by the reader.
  if (path.length > 100) parts.push(longName('L', path));
  if (entry.target.length > 100) parts.push(longName('K', entry.target));
  const records: Buffer[] = [];
  const seconds = Number(entry.mtime);
  if (!Number.isInteger(seconds) || seconds < 0 || seconds >= 8 ** 11) records.push(record('mtime', entry.mtime));
  if (entry.uid >= 8 ** 7) records.push(record('uid', String(entry.uid)));
  if (entry.gid >= 8 ** 7) records.push(record('gid', String(entry.gid)));
  if (entry.size >= 8 ** 11) records.push(record('size', String(entry.size)));
  for (const [name, value] of entry.xattrs) records.push(record(`SCHILY.xattr.${name}`, value));
  if (records.length > 0) {
    const data = Buffer.concat(records);
    parts.push(rawHeader({ flag: 'x', path: 'pax', size: data.length }), data, padding(data.length));
  }
  parts.push(rawHeader({ ...entry, flag: flags[entry.type], path, mtime: Math.max(0, Math.trunc(seconds)) }));
  return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
}

/** Zeros that fill the last block after `size` bytes. */
export function padding(size: number): Buffer {
  return Buffer.alloc(padded(size) - size);
}

/** The two zero blocks that end an archive. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * block);
}

interface Header {
  path: string;
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  target: string;
  major: number;
  minor: number;
}

interface Extension {
  path?: string;
  target?: string;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: string;
  xattrs?: Map<string, Buffer>;
}

function toEntry(header: Header, extension: Extension): TarEntry {
  const path = extension.path ?? header.path;
  let type = types[header.flag];
  if (type === undefined) {
    const what = header.flag === 'S' ? 'a sparse file' : `of the unknown type "${header.flag}"`;
    throw new EbbError('UnsafeLayer', 422, `tar entry "${show(path)}" is ${what}, which is not supported`);
  }
  // v7 tars have no type for directories but the slash.
  if (type === 'file' && path.endsWith('/')) type = 'directory';
  const size = type === 'file' ? (extension.size ?? header.size) : 0;
  const uid = extension.uid ?? header.uid;
  const gid = extension.gid ?? header.gid;
  for (const [name, id] of [['uid', uid] as const, ['gid', gid] as const]) {
    // 2^32-1 means "leave it as it is" to chown(2).
    if (!(id >= 0 && id < 0xffff_ffff)) throw corrupt(`entry "${show(path)}" has the ${name} ${id}`);
  }
  if (!Number.isSafeInteger(size) || size < 0) throw corrupt(`entry "${show(path)}" has no valid size`);
  const isDevice = type === 'character' || type === 'block';
  // Linux device numbers: 12 bits major, 20 bits minor.
  if (isDevice && !(header.major >= 0 && header.major < 4096 && header.minor >= 0 && header.minor < 1_048_576)) {
    throw corrupt(`device "${show(path)}" has the numbers ${header.major}:${header.minor}`);
  }
  return {
    path,
    type,
    mode: header.mode & 0o7777,
    uid,
    gid,
    size,
    mtime: extension.mtime ?? String(Number.isSafeInteger(header.mtime) ? header.mtime : 0),
    target: type === 'link' || type === 'symlink' ? (extension.target ?? header.target) : '',
    device: isDevice ? { major: header.major, minor: header.minor } : { major: 0, minor: 0 },
    xattrs: extension.xattrs ?? new Map(),
  };
}

function decodeHeader(bytes: Buffer): Header {
  let sum = 8 * 32;
  for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += bytes[i] ?? 0;
  if (number(bytes, 148, 8) !== sum) throw corrupt('a header has a wrong checksum');
  const magic = bytes.toString('latin1', 257, 263);
  const isUstar = magic === 'ustar\0';
  const hasDevice = isUstar || magic === 'ustar ';
  const name = text(bytes, 0, 100);
  const prefix = isUstar ? text(bytes, 345, 155) : '';
  return {
    path: prefix ? `${prefix}/${name}` : name,
    flag: bytes.toString('latin1', 156, 157),
    mode: number(bytes, 100, 8),
    uid: number(bytes, 108, 8),
    gid: number(bytes, 116, 8),
    size: number(bytes, 124, 12),
    mtime: number(bytes, 136, 12),
    target: text(bytes, 157, 100),
    major: hasDevice ? number(bytes, 329, 8) : 0,
    minor: hasDevice ? number(bytes, 337, 8) : 0,
  };
}

function decodeExtension(flag: 'x' | 'L' | 'K', data: Buffer): Extension {
  if (flag !== 'x') {
    const value = text(data, 0, data.length);
    return flag === 'L' ? { path: value } : { target: value };
  }
  const extension: Extension = {};
  for (let at = 0; at < data.length;) {
    // "%d key=value\n": the length counts itself, the space and the newline (POSIX pax, "pax Extended Header").
    const space = data.indexOf(0x20, at);
    const digits = data.toString('latin1', at, Math.max(space, at));
    const end = at + Number(digits);
    const equals = data.indexOf(0x3d, space + 1);
    if (!/^\d{1,7}$/.test(digits) || end > data.length || equals < 0 || equals >= end || data[end - 1] !== 0x0a) {
      throw corrupt('a pax header is malformed');
    }
    const value = data.subarray(equals + 1, end - 1);
    addRecord(extension, data.toString('latin1', space + 1, equals), value);
    at = end;
  }
  return extension;
}

function addRecord(extension: Extension, key: string, value: Buffer): void {
  if (key.startsWith('SCHILY.xattr.')) {
    (extension.xattrs ??= new Map()).set(key.slice('SCHILY.xattr.'.length), Buffer.from(value));
  } else if (key.startsWith('GNU.sparse.')) {
    throw new EbbError('UnsafeLayer', 422, 'the tar has a sparse file, which is not supported');
  } else if (key === 'path' || key === 'linkpath') {
    const name = value.toString('latin1');
    if (name.includes('\0')) throw corrupt('a pax name contains a NUL');
    extension[key === 'path' ? 'path' : 'target'] = name;
  } else if (key === 'size' || key === 'uid' || key === 'gid') {
    const digits = value.toString('latin1');
    if (!/^\d{1,16}$/.test(digits)) throw corrupt(`pax ${key} "${digits.slice(0, 40)}" is not a number`);
    extension[key] = Number(digits);
  } else if (key === 'mtime') {
    const match = /^(-?\d{1,12})(\.\d{1,9})?\d*$/.exec(value.toString('latin1'));
    if (!match) throw corrupt('pax mtime is not a time');
    extension.mtime = `${match[1]}${match[2] ?? ''}`;
  }
}

/** Octal, or base 256 when the first bit is set (GNU). NaN when it is neither. */
function number(bytes: Buffer, at: number, length: number): number {
  const first = bytes[at] ?? 0;
  if ((first & 0x80) !== 0) {
    let value = BigInt.asIntN(7, BigInt(first & 0x7f));
    for (let i = at + 1; i < at + length; i++) value = value * 256n + BigInt(bytes[i] ?? 0);
    return Number(value);
  }
  const digits = text(bytes, at, length).trim();
  if (digits === '') return 0;
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
}

/** The bytes up to the first NUL, as latin1. */
function text(bytes: Buffer, at: number, length: number): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end < 0 ? field.length : end);
}

function rawHeader(fields: {
  flag: string;
  path: string;
  size: number;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  target?: string;
  device?: { major: number; minor: number };
}): Buffer {
  const bytes = Buffer.alloc(block);
  // What does not fit stands in an extended header, and this field is ignored.
  const octal = (value: number, at: number, digits: number) =>
    bytes.write(value >= 8 ** digits ? '0' : value.toString(8).padStart(digits, '0'), at, 'latin1');
  bytes.write(fields.path.slice(0, 100), 0, 'latin1');
  octal(fields.mode ?? 0o644, 100, 7);
  octal(fields.uid ?? 0, 108, 7);
  octal(fields.gid ?? 0, 116, 7);
  octal(fields.size, 124, 11);
  octal(fields.mtime ?? 0, 136, 11);
  bytes.write(fields.flag, 156, 'latin1');
  bytes.write((fields.target ?? '').slice(0, 100), 157, 'latin1');
  bytes.write('ustar\x0000', 257, 'latin1');
  octal(fields.device?.major ?? 0, 329, 7);
  octal(fields.device?.minor ?? 0, 337, 7);
  let sum = 8 * 32;
  for (const byte of bytes) sum += byte;
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

function longName(flag: 'L' | 'K', name: string): Buffer {
  const data = Buffer.from(`${name}\0`, 'latin1');
  return Buffer.concat([rawHeader({ flag, path: '././@LongLink', size: data.length }), data, padding(data.length)]);
}

function record(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`, 'latin1'), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function padded(size: number): number {
  return Math.ceil(size / block) * block;
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Bytes of a name for a message: one line, printable, short. */
export function show(name: string): string {
  const decoded = Buffer.from(name, 'latin1').toString('utf8');
  return decoded.replace(/[\x00-\x1f\x7f-\x9f]/g, '?').slice(0, 200);
}

function corrupt(why: string): EbbError {
  return new EbbError('ImageCorrupt', 422, `the tar archive is damaged: ${why}`);
}

/** The bytes of one entry; reading them moves the archive's reader. */
class Body implements AsyncIterable<Buffer> {
  readonly #reader: Reader;
  readonly #size: number;
  #left: number;

  constructor(reader: Reader, size: number) {
    this.#reader = reader;
    this.#size = size;
    this.#left = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    while (this.#left > 0) {
      const chunk = await this.#reader.some(this.#left);
      if (chunk === undefined) throw corrupt('it ends inside a file');
      this.#left -= chunk.length;
      yield chunk;
    }
  }

  async skip(): Promise<void> {
    for (let left = this.#left + padded(this.#size) - this.#size; left > 0;) {
      const chunk = await this.#reader.some(left);
      // Some writers leave the last padding out.
      if (chunk === undefined) {
        if (left >= block) throw corrupt('it ends inside a file');
        return;
      }
      left -= chunk.length;
    }
  }
}

/** Takes exact numbers of bytes from a stream of chunks. */
class Reader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** At least one and at most `most` bytes, without copying; undefined at the end. */
  async some(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      this.#rest = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const chunk = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(chunk.length);
    return chunk;
  }

  /** Exactly `count` bytes; undefined when the source ended before the first. */
  async exactly(count: number): Promise<Buffer | undefined> {
    const first = await this.some(count);
    if (first === undefined || first.length === count) return count === 0 ? Buffer.alloc(0) : first;
    const parts = [first];
    for (let have = first.length; have < count;) {
      const chunk = await this.some(count - have);
      if (chunk === undefined) throw corrupt('it ends inside a header');
      parts.push(chunk);
      have += chunk.length;
    }
    return Buffer.concat(parts, count);
  }

  async drain(): Promise<void> {
    while ((await this.some(Number.MAX_SAFE_INTEGER)) !== undefined);
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
