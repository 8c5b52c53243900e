/** Directory records of ISO 9660 (ECMA-119, 9.1), and what Joliet makes of their names. */
import { viewOf } from "../../source/block-reader.ts";

const FIXED_SIZE = 33;
const FLAG_DIRECTORY = 0x02;
const FLAG_MULTI_EXTENT = 0x80;

export interface Extent {
  /** In blocks of the file system. */
  readonly block: number;
  /** Bytes. */
  readonly size: number;
}

export interface DirectoryRecord {
  /** As stored: for `.` and `..` a byte of 0 and 1. */
  readonly nameBytes: Uint8Array;
  readonly extent: Extent;
  readonly directory: boolean;
  /** The file goes on in the next record. */
  readonly continues: boolean;
  readonly mtime: number;
  /** What follows the name: Rock Ridge has its fields there. */
  readonly systemUse: Uint8Array;
}

/** @param bytes Exactly one record. Undefined if it contradicts itself. */
export function parseRecord(bytes: Uint8Array): DirectoryRecord | undefined {
  if (bytes.length < FIXED_SIZE + 1) return undefined;
  const view = viewOf(bytes);
  const nameLength = view.getUint8(32);
  // A name of even length has a byte after it.
  const nameEnd = FIXED_SIZE + nameLength;
  const systemUse = nameEnd + (nameLength % 2 === 0 ? 1 : 0);
  if (nameLength === 0 || nameEnd > bytes.length) return undefined;
  const flags = view.getUint8(25);
  return {
    nameBytes: bytes.subarray(FIXED_SIZE, nameEnd),
    extent: { block: view.getUint32(2, true) + view.getUint8(1), size: view.getUint32(10, true) },
    directory: (flags & FLAG_DIRECTORY) !== 0,
    continues: (flags & FLAG_MULTI_EXTENT) !== 0,
    mtime: shortDate(bytes.subarray(18, 25)),
    systemUse: bytes.subarray(Math.min(systemUse, bytes.length)),
  };
}

/** Seconds since 1970 of the seven bytes of ECMA-119, 9.1.5. */
export function shortDate(bytes: Uint8Array): number {
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0, zone = 0] = bytes;
  const offsetQuarters = zone < 128 ? zone : zone - 256;
  return (
    Math.floor(Date.UTC(1900 + year, month - 1, day, hour, minute, second) / 1000) - offsetQuarters * 900
  );
}

/** A name without Joliet or Rock Ridge, as Linux shows it: lower case, without version. */
export function plainName(bytes: Uint8Array): string {
  const name = Buffer.from(bytes).toString("latin1").toLowerCase();
  return name.replace(/;\d*$/, "").replace(/\.$/, "");
}

/** Joliet: UCS-2, big-endian. */
export function jolietName(bytes: Uint8Array): string {
  const swapped = Buffer.from(bytes.subarray(0, bytes.length - (bytes.length % 2))).swap16();
  return swapped.toString("utf16le").replace(/;\d*$/, "");
}
