import { open, type FileHandle } from 'node:fs/promises';

/** What the dynamic loader would read from a program or library (ELF gABI, "Dynamic Section"). */
export interface Elf {
  /** 32 or 64; libraries of another class are never loaded. */
  bits: 32 | 64;
  /** `e_machine`: 62 is x86-64, 183 is aarch64. */
  machine: number;
  /** The dynamic loader (PT_INTERP); absent from libraries and static programs. */
  interpreter?: string;
  /** DT_NEEDED, in order. */
  needed: string[];
  /** DT_RPATH and DT_RUNPATH entries, `$ORIGIN` not yet expanded. */
  runPaths: string[];
}

const ptLoad = 1;
const ptDynamic = 2;
const ptInterp = 3;
const dtNeeded = 1n;
const dtStrtab = 5n;
const dtStrsz = 10n;
const dtRpath = 15n;
const dtRunpath = 29n;
const maxTableBytes = 4 * 1024 * 1024;

/** Reads the dynamic linking facts of the file at `path`; undefined when it is no little-endian ELF file. */
export async function readElf(path: string): Promise<Elf | undefined> {
  await using file = await open(path, 'r');
  const head = await readAt(file, 0, 64);
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return undefined;
  const bits = head[4] === 2 ? 64 : 32;
  const wide = bits === 64;
  const word = (buffer: Buffer, offset: number) =>
    wide ? buffer.readBigUInt64LE(offset) : BigInt(buffer.readUInt32LE(offset));

  const segmentSize = head.readUInt16LE(wide ? 54 : 42);
  const segmentCount = head.readUInt16LE(wide ? 56 : 44);
  const table = await readAt(file, Number(word(head, wide ? 32 : 28)), segmentSize * segmentCount);
  const segments = Array.from({ length: segmentCount }, (_, i) => {
    const at = table.subarray(i * segmentSize);
    return {
      type: at.readUInt32LE(0),
      offset: Number(word(at, wide ? 8 : 4)),
      address: word(at, wide ? 16 : 8),
      size: Number(word(at, wide ? 32 : 16)),
    };
  });

  const elf: Elf = { bits, machine: head.readUInt16LE(18), needed: [], runPaths: [] };
  const interp = segments.find((s) => s.type === ptInterp);
  if (interp) elf.interpreter = cString(await readAt(file, interp.offset, interp.size), 0);
  const dynamic = segments.find((s) => s.type === ptDynamic);
  if (!dynamic) return elf;

  const entries: { tag: bigint; value: bigint }[] = [];
  const section = await readAt(file, dynamic.offset, dynamic.size);
  const step = wide ? 16 : 8;
  for (let at = 0; at + step <= section.length; at += step) {
    entries.push({ tag: word(section, at), value: word(section, at + step / 2) });
  }
  const valueOf = (tag: bigint) => entries.find((e) => e.tag === tag)?.value;
  const address = valueOf(dtStrtab);
  const home = segments.find(
    (s) => s.type === ptLoad && address !== undefined && address >= s.address && address < s.address + BigInt(s.size),
  );
  if (address === undefined || !home) return elf;
  // DT_STRTAB is an address in memory; the segment that maps it says where that is in the file.
  const offset = home.offset + Number(address - home.address);
  const strings = await readAt(file, offset, Number(valueOf(dtStrsz) ?? 0n));
  for (const { tag, value } of entries) {
    if (tag === dtNeeded) elf.needed.push(cString(strings, Number(value)));
    if (tag === dtRpath || tag === dtRunpath) elf.runPaths.push(...cString(strings, Number(value)).split(':'));
  }
  return elf;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  if (length > maxTableBytes) throw new RangeError(`ELF table of ${length} bytes`);
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

function cString(buffer: Buffer, start: number): string {
  const end = buffer.indexOf(0, start);
  return buffer.toString('latin1', start, end < 0 ? buffer.length : end);
}
