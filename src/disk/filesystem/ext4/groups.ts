/** Block group descriptors: where each group has its inodes. */
import { viewOf, type BlockReader } from "../../source/block-reader.ts";
import { crc16, crc32c, crc32cOfU32 } from "../checksums.ts";
import { FilesystemError } from "../errors.ts";
import { INCOMPAT_META_BG, RO_COMPAT_GDT_CSUM, RO_COMPAT_SPARSE_SUPER } from "./features.ts";
import { SUPERBLOCK_OFFSET, type Superblock } from "./superblock.ts";

const CHECKSUM_OFFSET = 0x1e;

/** The first block of the inode table of `group`. */
export function inodeTableBlock(reader: BlockReader, superblock: Superblock, group: number): number {
  const { descriptorSize, blocks, firstDataBlock } = superblock;
  const offset = descriptorOffset(superblock, group);
  const bytes = reader.bytes(offset, descriptorSize);
  verify(reader, superblock, group, bytes);
  const view = viewOf(bytes);
  const high = descriptorSize >= 64 ? view.getUint32(0x28, true) : 0;
  const block = view.getUint32(0x08, true) + high * 2 ** 32;
  if (block <= firstDataBlock || block >= blocks) {
    throw new FilesystemError(
      reader.name,
      `damaged: the inodes of group ${group} are said to lie in block ${block}`,
    );
  }
  return block;
}

function descriptorOffset(superblock: Superblock, group: number): number {
  const { blockSize, descriptorSize, firstDataBlock, incompat, firstMetaGroup, blocksPerGroup } = superblock;
  const perBlock = blockSize / descriptorSize;
  const tableBlock = Math.floor(group / perBlock);
  // The table follows the superblock, which with blocks of 1 KiB is block 1, also where bigalloc begins to count at 0.
  let block = Math.floor(SUPERBLOCK_OFFSET / blockSize) + 1 + tableBlock;
  // With meta_bg, descriptors lie in the group that begins those that they describe, behind a superblock if it has one.
  if ((incompat & INCOMPAT_META_BG) !== 0 && tableBlock >= firstMetaGroup && tableBlock > 0) {
    const home = tableBlock * perBlock;
    block = firstDataBlock + home * blocksPerGroup + (hasSuperblock(superblock, home) ? 1 : 0);
  }
  return block * blockSize + (group % perBlock) * descriptorSize;
}

/** With sparse_super, groups 0, 1 and powers of 3, 5 and 7 have a superblock. */
function hasSuperblock({ roCompat }: Superblock, group: number): boolean {
  if ((roCompat & RO_COMPAT_SPARSE_SUPER) === 0 || group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

function verify(reader: BlockReader, superblock: Superblock, group: number, bytes: Uint8Array): void {
  const { hasChecksums, checksumSeed, roCompat, uuidBytes } = superblock;
  let expected: number;
  const cleared = bytes.slice();
  if (hasChecksums) {
    cleared.fill(0, CHECKSUM_OFFSET, CHECKSUM_OFFSET + 2);
    expected = crc32c(crc32cOfU32(checksumSeed, group), cleared) & 0xffff;
  } else if ((roCompat & RO_COMPAT_GDT_CSUM) !== 0) {
    // This one leaves its own place out.
    let crc = crc16(0xffff, uuidBytes);
    crc = crc16(crc, Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24));
    crc = crc16(crc, bytes.subarray(0, CHECKSUM_OFFSET));
    expected = crc16(crc, bytes.subarray(CHECKSUM_OFFSET + 2));
  } else {
    return;
  }
  if (viewOf(bytes).getUint16(CHECKSUM_OFFSET, true) === expected) return;
  throw new FilesystemError(
    reader.name,
    `damaged: the descriptor of block group ${group} has a wrong checksum`,
    "repair it: e2fsck -f, on a copy first",
  );
}
