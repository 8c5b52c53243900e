/** Inodes: struct ext4_inode, kernel document filesystems/ext4/inodes.rst. */
import { viewOf } from "../../source/block-reader.ts";
import { crc32c, crc32cOfU32 } from "../checksums.ts";
import type { FileType } from "../filesystem.ts";
import { inodeTableBlock } from "./groups.ts";
import { damaged, type ExtVolume } from "./volume.ts";

const BASE_SIZE = 128;
export const BLOCK_AREA_OFFSET = 0x28;
export const BLOCK_AREA_SIZE = 60;
const CHECKSUM_LOW_OFFSET = 0x7c;
const CHECKSUM_HIGH_OFFSET = 0x82;

const TYPES: Readonly<Record<number, FileType>> = {
  0x1: "fifo",
  0x2: "char-device",
  0x4: "directory",
  0x6: "block-device",
  0x8: "file",
  0xa: "symlink",
  0xc: "socket",
};

export interface Inode {
  readonly number: number;
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly links: number;
  readonly flags: number;
  /** All of it, as long as the file system's inodes are. */
  readonly bytes: Uint8Array;
  /** i_block: the map of blocks, the root of the extent tree, or content. */
  readonly blockArea: Uint8Array;
  /** How much of `bytes` has fixed fields; extended attributes follow. */
  readonly fixedSize: number;
  /** What the checksums of its blocks start from. */
  readonly checksumSeed: number;
}

/** @throws {FilesystemError} if there is no such inode, it is damaged, or it is not in use. */
export function readInode(volume: ExtVolume, number: number): Inode {
  const { reader, superblock } = volume;
  const { inodes, inodesPerGroup, inodeSize, blockSize, hasChecksums } = superblock;
  if (number < 1 || number > inodes) throw damaged(reader.name, `there is no inode ${number}`);
  const group = Math.floor((number - 1) / inodesPerGroup);
  const index = (number - 1) % inodesPerGroup;
  const offset = inodeTableBlock(reader, superblock, group) * blockSize + index * inodeSize;
  // A copy: it outlives the cache, and small ones would keep its chunks in memory.
  const bytes = reader.bytes(offset, inodeSize).slice();
  const view = viewOf(bytes);
  const extraSize = inodeSize > BASE_SIZE ? view.getUint16(0x80, true) : 0;
  if (extraSize > inodeSize - BASE_SIZE || extraSize % 4 !== 0) {
    throw damaged(reader.name, `inode ${number} has an impossible size`);
  }
  const generation = view.getUint32(0x64, true);
  const checksumSeed = crc32cOfU32(crc32cOfU32(superblock.checksumSeed, number), generation);
  if (hasChecksums) verify(reader.name, number, bytes, extraSize, checksumSeed);

  const i_mode = view.getUint16(0, true);
  const type = TYPES[i_mode >> 12];
  const links = view.getUint16(0x1a, true);
  // The journal's inode and other reserved ones count no names.
  if (type === undefined || (links === 0 && number >= 11)) {
    throw damaged(reader.name, `inode ${number} is referred to, but not in use`);
  }
  const hasHighSize = type === "file" || type === "directory";
  return {
    number,
    type,
    mode: i_mode & 0o7777,
    uid: view.getUint16(0x02, true) + view.getUint16(0x78, true) * 0x1_0000,
    gid: view.getUint16(0x18, true) + view.getUint16(0x7a, true) * 0x1_0000,
    size: view.getUint32(0x04, true) + (hasHighSize ? view.getUint32(0x6c, true) * 2 ** 32 : 0),
    mtime: modificationTime(view, extraSize),
    links,
    flags: view.getUint32(0x20, true),
    bytes,
    blockArea: bytes.subarray(BLOCK_AREA_OFFSET, BLOCK_AREA_OFFSET + BLOCK_AREA_SIZE),
    fixedSize: BASE_SIZE + extraSize,
    checksumSeed,
  };
}

/** Seconds since 1970: 32 bits with sign, and two bits more where the inode has room for them. */
function modificationTime(view: DataView, extraSize: number): number {
  const seconds = view.getInt32(0x10, true);
  const epoch = extraSize >= 12 ? view.getUint32(0x88, true) & 3 : 0;
  return seconds + epoch * 2 ** 32;
}

/** The major and minor number of a device node: the old form in the first word, or the new one in the second. */
export function deviceNumber({ blockArea }: Inode): { major: number; minor: number } {
  const view = viewOf(blockArea);
  const old = view.getUint32(0, true);
  if (old !== 0) return { major: (old >> 8) & 0xff, minor: old & 0xff };
  const word = view.getUint32(4, true);
  return { major: (word >> 8) & 0xfff, minor: (word & 0xff) | ((word >>> 12) & 0xf_ff00) };
}

function verify(name: string, number: number, bytes: Uint8Array, extraSize: number, seed: number): void {
  const view = viewOf(bytes);
  const hasHigh = extraSize >= 4;
  const cleared = bytes.slice();
  cleared.fill(0, CHECKSUM_LOW_OFFSET, CHECKSUM_LOW_OFFSET + 2);
  if (hasHigh) cleared.fill(0, CHECKSUM_HIGH_OFFSET, CHECKSUM_HIGH_OFFSET + 2);
  const expected = crc32c(seed, cleared);
  const low = view.getUint16(CHECKSUM_LOW_OFFSET, true);
  const high = hasHigh ? view.getUint16(CHECKSUM_HIGH_OFFSET, true) : expected >>> 16;
  if (high * 0x1_0000 + low !== expected) throw damaged(name, `inode ${number} has a wrong checksum`);
}
