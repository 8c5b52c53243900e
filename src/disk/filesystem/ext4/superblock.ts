/** The superblock: struct ext4_super_block, kernel document filesystems/ext4/globals.rst. */
import { bytesUpTo, viewOf, type BlockReader } from "../../source/block-reader.ts";
import { crc32c } from "../checksums.ts";
import { paddedText, uuidText } from "../decode.ts";
import { FilesystemError } from "../errors.ts";
import {
  COMPAT_HAS_JOURNAL,
  INCOMPAT_64BIT,
  INCOMPAT_CSUM_SEED,
  INCOMPAT_EXTENTS,
  INCOMPAT_FLEX_BG,
  INCOMPAT_JOURNAL_DEV,
  INCOMPAT_NAMES,
  INCOMPAT_READABLE,
  RO_COMPAT_METADATA_CSUM,
} from "./features.ts";

export const SUPERBLOCK_OFFSET = 1024;
const SUPERBLOCK_SIZE = 1024;
const MAGIC = 0xef53;
const CHECKSUM_OFFSET = 0x3fc;
const CRC32C_TYPE = 1;
const MAX_BLOCK_SIZE = 65_536;
const GOOD_OLD_INODE_SIZE = 128;
const GOOD_OLD_DESCRIPTOR_SIZE = 32;

export interface Superblock {
  readonly type: "ext2" | "ext3" | "ext4";
  readonly blockSize: number;
  readonly blocks: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly inodes: number;
  readonly inodesPerGroup: number;
  readonly inodeSize: number;
  /** Of a group descriptor. */
  readonly descriptorSize: number;
  readonly groups: number;
  readonly firstMetaGroup: number;
  readonly compat: number;
  readonly incompat: number;
  readonly roCompat: number;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
  readonly uuidBytes: Uint8Array;
  readonly hasChecksums: boolean;
  /** What every metadata checksum starts from. */
  readonly checksumSeed: number;
  readonly journalInode: number;
}

export function isExt(reader: BlockReader): boolean {
  const bytes = bytesUpTo(reader, SUPERBLOCK_OFFSET, 0x3a);
  return bytes.length === 0x3a && viewOf(bytes).getUint16(0x38, true) === MAGIC;
}

/** @throws {FilesystemError} if it is damaged, or has features that this reader does not know. */
export function readSuperblock(reader: BlockReader): Superblock {
  const bytes = reader.bytes(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE);
  const view = viewOf(bytes);
  const u32 = (offset: number): number => view.getUint32(offset, true);
  const u16 = (offset: number): number => view.getUint16(offset, true);
  const damaged = (what: string): FilesystemError =>
    new FilesystemError(
      reader.name,
      `damaged ext4 superblock: ${what}`,
      "repair it: e2fsck -f, on a copy first",
    );
  if (u16(0x38) !== MAGIC) throw damaged("no magic number");

  const revision = u32(0x4c);
  const dynamic = revision >= 1;
  const compat = dynamic ? u32(0x5c) : 0;
  const incompat = dynamic ? u32(0x60) : 0;
  const roCompat = dynamic ? u32(0x64) : 0;
  const hasChecksums = (roCompat & RO_COMPAT_METADATA_CSUM) !== 0;
  if (hasChecksums) {
    if (view.getUint8(0x175) !== CRC32C_TYPE) throw damaged("unknown kind of checksums");
    if (crc32c(0xffff_ffff, bytes.subarray(0, CHECKSUM_OFFSET)) !== u32(CHECKSUM_OFFSET)) {
      throw damaged("wrong checksum");
    }
  }
  refuseUnknownFeatures(reader.name, incompat);

  const blockSize = u32(0x18) <= 6 ? 1024 << u32(0x18) : 0;
  const has64bit = (incompat & INCOMPAT_64BIT) !== 0;
  const blocks = u32(0x04) + (has64bit ? u32(0x150) * 2 ** 32 : 0);
  const firstDataBlock = u32(0x14);
  const blocksPerGroup = u32(0x20);
  const inodesPerGroup = u32(0x28);
  const inodes = u32(0x00);
  const inodeSize = dynamic ? u16(0x58) : GOOD_OLD_INODE_SIZE;
  const descriptorSize = has64bit ? u16(0xfe) : GOOD_OLD_DESCRIPTOR_SIZE;
  if (blockSize === 0 || blockSize > MAX_BLOCK_SIZE) throw damaged("impossible block size");
  if (!isPowerOfTwo(inodeSize) || inodeSize < GOOD_OLD_INODE_SIZE || inodeSize > blockSize) {
    throw damaged("impossible inode size");
  }
  if (!isPowerOfTwo(descriptorSize) || descriptorSize < (has64bit ? 64 : 32) || descriptorSize > blockSize) {
    throw damaged("impossible size of group descriptors");
  }
  // A bit per block or cluster, and per inode, in one block each; a cluster has at most 2^29 bytes.
  if (blocksPerGroup === 0 || inodesPerGroup === 0 || inodesPerGroup > blockSize * 8) {
    throw damaged("impossible size of groups");
  }
  if (blocks <= firstDataBlock || firstDataBlock > 1) throw damaged("impossible number of blocks");
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  if (groups * inodesPerGroup < inodes) throw damaged("more inodes than its groups can have");

  const uuidBytes = bytes.slice(0x68, 0x78);
  const isExt4 = (incompat & (INCOMPAT_EXTENTS | INCOMPAT_64BIT | INCOMPAT_FLEX_BG)) !== 0;
  return {
    type: isExt4 ? "ext4" : (compat & COMPAT_HAS_JOURNAL) !== 0 ? "ext3" : "ext2",
    blockSize,
    blocks,
    firstDataBlock,
    blocksPerGroup,
    inodes,
    inodesPerGroup,
    inodeSize,
    descriptorSize,
    groups,
    firstMetaGroup: u32(0x104),
    compat,
    incompat,
    roCompat,
    label: paddedText(bytes.subarray(0x78, 0x88)),
    uuid: uuidText(uuidBytes),
    uuidBytes,
    hasChecksums,
    checksumSeed: (incompat & INCOMPAT_CSUM_SEED) !== 0 ? u32(0x270) : crc32c(0xffff_ffff, uuidBytes),
    journalInode: (compat & COMPAT_HAS_JOURNAL) !== 0 ? u32(0xe0) : 0,
  };
}

/** Bytes that the superblock wants there to be. */
export function announcedSize({ blocks, blockSize }: Superblock): number {
  return blocks * blockSize;
}

function refuseUnknownFeatures(name: string, incompat: number): void {
  if ((incompat & INCOMPAT_JOURNAL_DEV) !== 0) {
    throw new FilesystemError(name, "is the journal of an ext4 file system elsewhere, not a file system");
  }
  const unknown = incompat & ~INCOMPAT_READABLE;
  if (unknown === 0) return;
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    const mask = (1 << bit) >>> 0;
    if ((unknown & mask) !== 0) names.push(INCOMPAT_NAMES[mask] ?? `0x${mask.toString(16)}`);
  }
  throw new FilesystemError(name, `ext4 with features that tsvm cannot read: ${names.join(", ")}`);
}

function isPowerOfTwo(number: number): boolean {
  return number > 0 && (number & (number - 1)) === 0;
}
