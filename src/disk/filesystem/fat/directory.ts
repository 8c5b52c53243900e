/** Directory entries of FAT, with long names (VFAT). */
import { viewOf } from "../../source/block-reader.ts";
import { utf16le } from "../decode.ts";

const ENTRY_SIZE = 32;
const DELETED = 0xe5;
const ATTRIBUTE_READ_ONLY = 0x01;
const ATTRIBUTE_VOLUME_LABEL = 0x08;
const ATTRIBUTE_DIRECTORY = 0x10;
const ATTRIBUTE_LONG_NAME = 0x0f;
const LONG_NAME_LAST = 0x40;
const LONG_NAME_MAX_PARTS = 20;
/** Where a long name entry has its 13 characters of 16 bits. */
const LONG_NAME_RANGES = [
  [1, 11],
  [14, 26],
  [28, 32],
] as const;
const LOWERCASE_BASE = 0x08;
const LOWERCASE_EXTENSION = 0x10;

export interface FatEntry {
  readonly name: string;
  /** The name of 8 + 3 characters; looking up takes either. */
  readonly shortName: string;
  readonly directory: boolean;
  readonly readOnly: boolean;
  /** The first one; 0 of an empty file. */
  readonly cluster: number;
  readonly size: number;
  /** Seconds since 1970, taking the local time that FAT stores for UTC. */
  readonly mtime: number;
  /** Where it stands: as good as an inode number. */
  readonly offset: number;
}

/** The entries in `bytes`, without `.`, `..` and labels. */
export function* fatEntries(chunks: Iterable<{ bytes: Uint8Array; offset: number }>): Generator<FatEntry> {
  let longName: LongName | undefined;
  for (const { bytes, offset } of chunks) {
    for (let at = 0; at + ENTRY_SIZE <= bytes.length; at += ENTRY_SIZE) {
      const entry = bytes.subarray(at, at + ENTRY_SIZE);
      const first = entry[0]!;
      if (first === 0) return;
      const attributes = entry[11]!;
      if (first === DELETED) {
        longName = undefined;
      } else if ((attributes & 0x3f) === ATTRIBUTE_LONG_NAME) {
        longName = addPart(longName, entry);
      } else {
        const isLabel = (attributes & ATTRIBUTE_VOLUME_LABEL) !== 0;
        const isDot = first === 0x2e;
        if (!isLabel && !isDot) yield parseEntry(entry, longName, offset + at);
        longName = undefined;
      }
    }
  }
}

/** The label that the root directory has, which tools keep up to date rather than that of the boot sector. */
export function* volumeLabels(chunks: Iterable<{ bytes: Uint8Array }>): Generator<string> {
  for (const { bytes } of chunks) {
    for (let at = 0; at + ENTRY_SIZE <= bytes.length; at += ENTRY_SIZE) {
      const entry = bytes.subarray(at, at + ENTRY_SIZE);
      if (entry[0] === 0) return;
      const attributes = entry[11]! & 0x3f;
      if (entry[0] === DELETED || attributes === ATTRIBUTE_LONG_NAME) continue;
      if ((attributes & ATTRIBUTE_VOLUME_LABEL) !== 0) yield latin1(entry.subarray(0, 11)).trimEnd();
    }
  }
}

/** Parts come last first, each with its number. */
interface LongName {
  readonly checksum: number;
  readonly next: number;
  readonly text: string;
}

function addPart(before: LongName | undefined, entry: Uint8Array): LongName | undefined {
  const order = entry[0]!;
  const checksum = entry[13]!;
  const number = order & 0x1f;
  const isLast = (order & LONG_NAME_LAST) !== 0;
  if (number === 0 || number > LONG_NAME_MAX_PARTS) return undefined;
  if (!isLast && (before === undefined || before.next !== number || before.checksum !== checksum))
    return undefined;
  const part = LONG_NAME_RANGES.map(([start, end]) => utf16le(entry.subarray(start, end))).join("");
  return { checksum, next: number - 1, text: part + (isLast ? "" : before!.text) };
}

function parseEntry(entry: Uint8Array, longName: LongName | undefined, offset: number): FatEntry {
  const view = viewOf(entry);
  const attributes = entry[11]!;
  const shortName = parseShortName(entry);
  // A long name whose short one was changed by a program that knows nothing of long ones belongs to nothing.
  const belongs = longName?.next === 0 && longName.checksum === shortNameChecksum(entry);
  const name = belongs ? longName.text.replace(/\0.*$/s, "") : "";
  return {
    name: name === "" || /[/]/.test(name) ? shortName : name,
    shortName,
    directory: (attributes & ATTRIBUTE_DIRECTORY) !== 0,
    readOnly: (attributes & ATTRIBUTE_READ_ONLY) !== 0,
    cluster: view.getUint16(26, true) + view.getUint16(20, true) * 0x1_0000,
    size: view.getUint32(28, true),
    mtime: dosTime(view.getUint16(24, true), view.getUint16(22, true)),
    offset,
  };
}

function parseShortName(entry: Uint8Array): string {
  const bytes = entry.slice(0, 11);
  // 0xE5 as the first byte of a name is stored as 5.
  if (bytes[0] === 5) bytes[0] = DELETED;
  let base = latin1(bytes.subarray(0, 8)).trimEnd();
  let extension = latin1(bytes.subarray(8)).trimEnd();
  const cases = entry[12]!;
  if ((cases & LOWERCASE_BASE) !== 0) base = base.toLowerCase();
  if ((cases & LOWERCASE_EXTENSION) !== 0) extension = extension.toLowerCase();
  return (extension === "" ? base : `${base}.${extension}`).replaceAll(/[/\0]/g, "_");
}

function shortNameChecksum(entry: Uint8Array): number {
  let sum = 0;
  for (const byte of entry.subarray(0, 11)) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff;
  return sum;
}

function dosTime(date: number, time: number): number {
  const ms = Date.UTC(
    1980 + (date >> 9),
    ((date >> 5) & 15) - 1,
    date & 31,
    time >> 11,
    (time >> 5) & 63,
    (time & 31) * 2,
  );
  return Math.floor(ms / 1000);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
