import { EbbError, messageOf } from '../../platform/errors.ts';
import { badRequest, unsupportedMediaType } from '../status.ts';
import { kindMessages, typeMeta, type Field, type Message } from './messages.ts';
import { fieldsOf, signed, type WireField } from './wire.ts';

type Json = Record<string, unknown>;

/** `k8s\0`: how Kubernetes marks its protobuf bodies (apimachinery, runtime/serializer/protobuf). */
const magic = Buffer.from('k8s\0');

/** Fields, nested ones included, of one body: a few bytes each, so that a small body can't ask for much memory. */
const maxFields = 100_000;

/**
 * An object of the API from Kubernetes' protobuf envelope (`k8s\0` and runtime.Unknown), as its JSON would read.
 * client-go sends these for the built-in kinds. Throws EbbError BadRequest, or UnsupportedMediaType for kinds whose
 * messages are not known here.
 */
export function decodeProtobuf(body: Buffer): Json {
  if (!body.subarray(0, magic.length).equals(magic)) {
    throw badRequest('the body is not a protobuf of Kubernetes: it does not begin with "k8s\\0"');
  }
  try {
    const budget = { left: maxFields };
    const wrapped = new Map([...fieldsOf(body.subarray(magic.length))].map((f) => [f.number, bytesOf(f)]));
    const empty = Buffer.alloc(0);
    const { apiVersion = '', kind = '' } = decode(typeMeta, wrapped.get(1) ?? empty, budget) as Record<string, string>;
    const message = kind === 'DeleteOptions' ? kindMessages.get(kind) : kindMessages.get(`${apiVersion}/${kind}`);
    if (!message) {
      const what = `${kind.slice(0, 100)} of ${apiVersion.slice(0, 100)}`;
      throw unsupportedMediaType(`protobuf is not accepted for ${what}: send application/json or application/yaml`);
    }
    return { apiVersion, kind, ...decode(message, wrapped.get(2) ?? empty, budget) };
  } catch (error) {
    if (error instanceof EbbError) throw error;
    throw badRequest(`the body is not valid protobuf: ${messageOf(error)}`);
  }
}

function decode(message: Message, bytes: Buffer, budget: { left: number }): Json {
  const out: Json = {};
  for (const wire of fieldsOf(bytes)) {
    budget.left -= 1;
    if (budget.left < 0) throw badRequest(`the body has more than ${maxFields} fields`);
    const field = message.get(wire.number);
    // Newer clients may send fields that are not known here: Kubernetes drops those, too.
    if (!field) continue;
    const value = valueOf(field, wire, budget);
    if (field.map) {
      const [key, entry] = value as [string, unknown];
      const map = (out[field.name] ??= {}) as Json;
      Object.defineProperty(map, key, { value: entry, enumerable: true, writable: true, configurable: true });
    } else if (field.repeated) ((out[field.name] ??= []) as unknown[]).push(value);
    else if (value !== undefined) out[field.name] = value;
  }
  return out;
}

/** Undefined for what JSON leaves out: the zero values, which Go's encoder writes for every field that is no pointer. */
function valueOf(field: Field, wire: WireField, budget: { left: number }): unknown {
  if (field.map) return entryOf(field.map, bytesOf(wire), budget);
  switch (field.type) {
    case 'string': {
      const text = textOf(bytesOf(wire));
      return text === '' && !field.repeated ? undefined : text;
    }
    case 'bytes':
      return bytesOf(wire).toString('base64');
    case 'fieldsV1': {
      const raw = [...fieldsOf(bytesOf(wire))].find((f) => f.number === 1);
      return raw && (JSON.parse(textOf(bytesOf(raw))) as unknown);
    }
    case 'bool': {
      const value = numberOf(wire) !== 0n;
      return value || field.pointer ? value : undefined;
    }
    case 'integer': {
      const value = Number(signed(numberOf(wire)));
      return value !== 0 || field.pointer ? value : undefined;
    }
    case 'time':
    case 'microTime':
      return timeOf(bytesOf(wire), field.type === 'time' ? 0 : 6);
    default:
      return decode(field.type, bytesOf(wire), budget);
  }
}

function entryOf(type: 'string' | 'bytes', bytes: Buffer, budget: { left: number }): [string, string] {
  let [key, value] = ['', ''];
  for (const wire of fieldsOf(bytes)) {
    budget.left -= 1;
    if (wire.number === 1) key = textOf(bytesOf(wire));
    if (wire.number === 2) value = type === 'bytes' ? bytesOf(wire).toString('base64') : textOf(bytesOf(wire));
  }
  return [key, value];
}

/** RFC 3339 with so many digits of a second; undefined for the zero time, which is an empty message. */
function timeOf(bytes: Buffer, digits: 0 | 6): string | undefined {
  let [seconds, nanos] = [0n, 0n];
  for (const wire of fieldsOf(bytes)) {
    if (wire.number === 1) seconds = signed(numberOf(wire));
    if (wire.number === 2) nanos = signed(numberOf(wire));
  }
  if (seconds === 0n && nanos === 0n) return undefined;
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime()) || nanos < 0n || nanos > 999_999_999n) throw new Error('a time is out of range');
  const whole = date.toISOString().slice(0, -5);
  return digits === 0 ? `${whole}Z` : `${whole}.${String(nanos / 1000n).padStart(6, '0')}Z`;
}

function bytesOf(wire: WireField): Buffer {
  if (Buffer.isBuffer(wire.value)) return wire.value;
  throw new Error(`field ${wire.number} has the wrong wire type`);
}

function numberOf(wire: WireField): bigint {
  if (typeof wire.value === 'bigint') return wire.value;
  throw new Error(`field ${wire.number} has the wrong wire type`);
}

function textOf(bytes: Buffer): string {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}
