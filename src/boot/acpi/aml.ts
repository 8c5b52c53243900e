/**
 * Writes ACPI Machine Language: one function per term, each giving the term's bytes. Terms nest by being passed as arguments.
 * ACPI 6.5, chapter 20; the section of each encoding stands beside it.
 */

/** The bytes of a term or of a list of terms. */
export type Aml = readonly number[];

const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const QWORD_PREFIX = 0x0e;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const METHOD_OP = 0x14;
const MULTI_NAME_PREFIX = 0x2f;
const DUAL_NAME_PREFIX = 0x2e;
const EXT_OP_PREFIX = 0x5b;
const EXT_OP_REGION_OP = 0x80;
const EXT_FIELD_OP = 0x81;
const EXT_DEVICE_OP = 0x82;
const ROOT_CHAR = 0x5c;
const LOCAL0_OP = 0x60;
const STORE_OP = 0x70;
const AND_OP = 0x7b;
const NOTIFY_OP = 0x86;
const IF_OP = 0xa0;

/** DefScope (20.2.5.1). */
export function scope(path: string, ...terms: Aml[]): Aml {
  return [SCOPE_OP, ...sized([...nameString(path), ...terms.flat()])];
}

/** DefDevice (20.2.5.2). */
export function device(name: string, ...terms: Aml[]): Aml {
  return [EXT_OP_PREFIX, EXT_DEVICE_OP, ...sized([...nameString(name), ...terms.flat()])];
}

/** DefName (20.2.5.1). */
export function name(path: string, value: Aml): Aml {
  return [NAME_OP, ...nameString(path), ...value];
}

/** DefMethod (20.2.5.2), serialized: it never runs twice at once. */
export function method(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  const SERIALIZED = 0x08;
  return [METHOD_OP, ...sized([...nameString(path), argumentCount | SERIALIZED, ...terms.flat()])];
}

/** DefPackage (20.2.5.4). */
export function packageOf(...elements: Aml[]): Aml {
  return [PACKAGE_OP, ...sized([elements.length, ...elements.flat()])];
}

/** DefBuffer (20.2.5.4). */
export function buffer(bytes: Aml): Aml {
  return [BUFFER_OP, ...sized([...integer(bytes.length), ...bytes])];
}

/** DefOpRegion (20.2.5.2) in system I/O space. */
export function systemIoRegion(path: string, port: number, length: number): Aml {
  const SYSTEM_IO = 0x01;
  const place = [...integer(port), ...integer(length)];
  return [EXT_OP_PREFIX, EXT_OP_REGION_OP, ...nameString(path), SYSTEM_IO, ...place];
}

/** DefField (20.2.5.2): one field of 8 or 32 bits that is a whole register, at the start of a region. */
export function field(region: string, path: string, bits: 8 | 32): Aml {
  const access = { 8: 0x01, 32: 0x03 }; // ByteAcc, DWordAcc; no lock, preserve
  const element = [...nameString(path), ...packageLength(bits)];
  return [EXT_OP_PREFIX, EXT_FIELD_OP, ...sized([...nameString(region), access[bits], ...element])];
}

/** DefIfElse (20.2.5.3) without an else. */
export function ifTrue(predicate: Aml, ...terms: Aml[]): Aml {
  return [IF_OP, ...sized([...predicate, ...terms.flat()])];
}

/** DefStore (20.2.5.4). */
export function store(source: Aml, target: Aml): Aml {
  return [STORE_OP, ...source, ...target];
}

/** DefAnd (20.2.5.4), the result stored nowhere. */
export function and(left: Aml, right: Aml): Aml {
  return [AND_OP, ...left, ...right, ZERO_OP];
}

/** DefNotify (20.2.5.3). */
export function notify(object: string, value: number): Aml {
  return [NOTIFY_OP, ...nameString(object), ...integer(value)];
}

export const local0: Aml = [LOCAL0_OP];

/** A reference to a named object (20.2.2). */
export function reference(path: string): Aml {
  return nameString(path);
}

/** ComputationalData (20.2.3), in the shortest encoding. */
export function integer(value: number): Aml {
  if (value === 0) return [ZERO_OP];
  if (value === 1) return [ONE_OP];
  if (value <= 0xff) return [BYTE_PREFIX, value];
  if (value <= 0xffff) return [WORD_PREFIX, ...littleEndian(value, 2)];
  if (value <= 0xffff_ffff) return [DWORD_PREFIX, ...littleEndian(value, 4)];
  return [QWORD_PREFIX, ...littleEndian(value, 8)];
}

/** String (20.2.3): ASCII without NUL. */
export function string(text: string): Aml {
  return [STRING_PREFIX, ...ascii(text), 0];
}

/** EISAID (19.6.37): "PNP0501" as the 32-bit number it is compressed into. */
export function eisaId(id: string): Aml {
  const letter = (index: number): number => id.charCodeAt(index) - 0x40;
  const manufacturer = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  const bytes = [manufacturer >> 8, manufacturer & 0xff, product >> 8, product & 0xff];
  return [DWORD_PREFIX, ...bytes];
}

/** Little-endian bytes of an unsigned number below 2^53. */
export function littleEndian(value: number, size: number): number[] {
  return Array.from({ length: size }, (_, index) => Math.floor(value / 2 ** (8 * index)) % 256);
}

export function ascii(text: string): number[] {
  return Array.from(text, (character) => character.charCodeAt(0));
}

/** NameString (20.2.2): `\` for the root, segments of up to four characters separated by dots. */
function nameString(path: string): Aml {
  const absolute = path.startsWith("\\");
  const segments = path.slice(absolute ? 1 : 0).split(".");
  const prefix =
    segments.length === 1
      ? []
      : segments.length === 2
        ? [DUAL_NAME_PREFIX]
        : [MULTI_NAME_PREFIX, segments.length];
  const names = segments.flatMap((segment) => ascii(segment.padEnd(4, "_")));
  return [...(absolute ? [ROOT_CHAR] : []), ...prefix, ...names];
}

/** Puts the length of `content` before it. */
function sized(content: Aml): Aml {
  // The length counts its own bytes.
  for (let bytes = 1; bytes <= 4; bytes++) {
    const encoded = packageLength(content.length + bytes);
    if (encoded.length === bytes) return [...encoded, ...content];
  }
  throw new RangeError(`an AML term of ${content.length} bytes`);
}

/** PkgLength (20.2.4): one byte up to 63, else four bits and up to three bytes more. */
function packageLength(length: number): number[] {
  if (length < 0x40) return [length];
  for (let more = 1; more <= 3; more++) {
    if (length < 2 ** (4 + 8 * more)) {
      return [(more << 6) | (length & 0xf), ...littleEndian(Math.floor(length / 16), more)];
    }
  }
  throw new RangeError(`an AML term of ${length} bytes`);
}
