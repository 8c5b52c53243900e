/**
 * Directories: kernel document filesystems/ext4/directory.rst. Hashed ones are read from front to back like the others: their
 * index looks like unused entries.
 */
import { viewOf } from "../../source/block-reader.ts";
import { crc32c } from "../checksums.ts";
import { utf8 } from "../decode.ts";
import { INCOMPAT_FILETYPE, INODE_INDEX, INODE_INLINE_DATA } from "./features.ts";
import { runsOf } from "./block-map.ts";
import type { Inode } from "./inode.ts";
import { inlineParts } from "./inline-data.ts";
import { damaged, readBlock, type ExtVolume } from "./volume.ts";

const HEADER_SIZE = 8;
const TAIL_SIZE = 12;
const TAIL_TYPE = 0xde;
const INDEX_ENTRY_SIZE = 8;
/** Before the entries of an inline directory: the inode of its parent. */
const INLINE_PARENT_SIZE = 4;
/** Millions of entries. What claims to be larger is damaged, or of no use to anyone who reads it entry by entry. */
const MAX_DIRECTORY_SIZE = 128 * 1024 * 1024;

export interface RawEntry {
  readonly name: string;
  readonly inode: number;
}

/** All entries but `.` and `..`. */
export function* directoryEntries(volume: ExtVolume, inode: Inode): Generator<RawEntry> {
  const { reader, superblock } = volume;
  const wrong = (what: string): Error => damaged(reader.name, `directory (inode ${inode.number}): ${what}`);
  if ((inode.flags & INODE_INLINE_DATA) !== 0) {
    const [area, attribute] = inlineParts(volume, inode);
    yield* entriesIn(area.subarray(INLINE_PARENT_SIZE), superblock.incompat, wrong);
    yield* entriesIn(attribute, superblock.incompat, wrong);
    return;
  }
  if (inode.size > MAX_DIRECTORY_SIZE) throw wrong(`its size of ${inode.size} bytes is beyond reason`);
  const { blockSize } = superblock;
  const blocks = Math.ceil(inode.size / blockSize);
  for (const { logical, physical, count } of runsOf(volume, inode, 0, blocks)) {
    for (let index = 0; index < count; index++) {
      const block = readBlock(volume, physical + index, `the directory with inode ${inode.number}`);
      if (superblock.hasChecksums) verify(block, logical + index, inode, wrong);
      yield* entriesIn(block, superblock.incompat, wrong);
    }
  }
}

function* entriesIn(
  block: Uint8Array,
  incompat: number,
  wrong: (what: string) => Error,
): Generator<RawEntry> {
  const view = viewOf(block);
  for (let at = 0; at + HEADER_SIZE <= block.length;) {
    const inode = view.getUint32(at, true);
    const length = recordLength(view, at);
    // Without the feature the length of the name has 16 bits, of which the upper ones are 0 as well.
    const nameLength =
      (incompat & INCOMPAT_FILETYPE) !== 0 ? view.getUint8(at + 6) : view.getUint16(at + 6, true);
    if (length < HEADER_SIZE || length % 4 !== 0 || at + length > block.length) {
      throw wrong("an entry has an impossible length");
    }
    if (inode !== 0) {
      if (nameLength === 0 || HEADER_SIZE + nameLength > length)
        throw wrong("a name has an impossible length");
      const name = utf8(block.subarray(at + HEADER_SIZE, at + HEADER_SIZE + nameLength));
      if (/[/\0]/.test(name)) throw wrong("a name contains what no name can");
      if (name !== "." && name !== "..") yield { name, inode };
    }
    at += length;
  }
}

/** 16 bits; blocks of 64 KiB do not fit, so the two lowest bits, otherwise zero, are the highest. */
function recordLength(view: DataView, at: number): number {
  const length = view.getUint16(at + 4, true);
  if (view.byteLength < 65_536) return length;
  return length === 65_535 || length === 0 ? 65_536 : (length & 0xfffc) | ((length & 3) << 16);
}

function verify(block: Uint8Array, logical: number, inode: Inode, wrong: (what: string) => Error): void {
  const view = viewOf(block);
  // First: what was a leaf before it became an index keeps a tail.
  const index = (inode.flags & INODE_INDEX) !== 0 ? indexOffset(view) : undefined;
  if (index !== undefined) {
    if (indexIsIntact(block, index, inode.checksumSeed)) return;
    throw wrong(`block ${logical}, an index, has a wrong checksum`);
  }
  const tail = block.length - TAIL_SIZE;
  const hasTail =
    view.getUint32(tail, true) === 0 &&
    view.getUint16(tail + 4, true) === TAIL_SIZE &&
    view.getUint8(tail + 7) === TAIL_TYPE;
  if (!hasTail) throw wrong(`block ${logical} has no checksum`);
  if (view.getUint32(tail + 8, true) !== crc32c(inode.checksumSeed, block.subarray(0, tail))) {
    throw wrong(`block ${logical} has a wrong checksum`);
  }
}

function indexIsIntact(block: Uint8Array, countOffset: number, seed: number): boolean {
  const view = viewOf(block);
  const limit = view.getUint16(countOffset, true);
  const count = view.getUint16(countOffset + 2, true);
  const tail = countOffset + limit * INDEX_ENTRY_SIZE;
  if (count > limit || tail + 8 > block.length) return false;
  // The used entries, then the tail with its checksum taken as zero.
  let crc = crc32c(seed, block.subarray(0, countOffset + count * INDEX_ENTRY_SIZE));
  crc = crc32c(crc, block.subarray(tail, tail + 4));
  return view.getUint32(tail + 4, true) === crc32c(crc, new Uint8Array(4));
}

/** Where an index block has its entries, the first of which is their limit and count; undefined if it is none. */
function indexOffset(view: DataView): number | undefined {
  const size = view.byteLength;
  const first = recordLength(view, 0);
  if (first === size) return 8;
  if (first !== 12 || recordLength(view, 12) !== size - 12) return undefined;
  const INFO_LENGTH = 8;
  return view.getUint32(24, true) === 0 && view.getUint8(29) === INFO_LENGTH ? 32 : undefined;
}
