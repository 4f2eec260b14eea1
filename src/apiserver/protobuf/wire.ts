/** One field of a message as it stands on the wire: a number for varint and fixed types, bytes for the rest. */
export interface WireField {
  number: number;
  value: bigint | Buffer;
}

/**
 * The fields of one encoded message, in order (protobuf.dev, "Encoding"). Nested messages are bytes, not entered, and no
 * byte is copied. Throws Error for anything cut off, over-long or of a wire type that proto2 and proto3 no longer write.
 */
export function* fieldsOf(bytes: Buffer): Generator<WireField, void, undefined> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('it ends within a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new Error('a number is longer than 10 bytes');
  };
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new Error(`it ends within a field of ${length} bytes`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    if (number < 1 || number > 0x1fff_ffff) throw new Error(`there is no field number ${number}`);
    switch (Number(tag & 7n)) {
      case 0:
        yield { number, value: varint() };
        break;
      case 1:
        yield { number, value: take(8).readBigUInt64LE() };
        break;
      case 2:
        yield { number, value: take(Number(varint())) };
        break;
      case 5:
        yield { number, value: BigInt(take(4).readUInt32LE()) };
        break;
      default:
        throw new Error(`field ${number} has wire type ${tag & 7n}`);
    }
  }
}

/** int32 and int64 are two's complement in 64 bits, whatever their size. */
export const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
