/** Recognises what tsvm does not read, to call it by its name. Offsets in bytes from the beginning of a partition. */
import { bytesUpTo, type BlockReader } from "../source/block-reader.ts";

interface Signature {
  readonly description: string;
  readonly offset: number;
  readonly magic: string | readonly number[];
}

const MD_MAGIC = [0xfc, 0x4e, 0x2b, 0xa9];

const SIGNATURES: readonly Signature[] = [
  { description: "encrypted (LUKS)", offset: 0, magic: "LUKS\xba\xbe" },
  { description: "encrypted (BitLocker)", offset: 3, magic: "-FVE-FS-" },
  ...[0, 512, 1024, 1536].map((offset) => ({
    description: "an LVM physical volume",
    offset,
    magic: "LABELONE",
  })),
  ...[0, 4096].map((offset) => ({ description: "a member of a Linux RAID array", offset, magic: MD_MAGIC })),
  { description: "XFS", offset: 0, magic: "XFSB" },
  { description: "Btrfs", offset: 0x1_0040, magic: "_BHRfS_M" },
  { description: "a squashfs file system", offset: 0, magic: "hsqs" },
  { description: "EROFS", offset: 0x400, magic: [0xe2, 0xe1, 0xf5, 0xe0] },
  { description: "F2FS", offset: 0x400, magic: [0x10, 0x20, 0xf5, 0xf2] },
  {
    description: "bcachefs",
    offset: 0x1018,
    magic: [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81],
  },
  { description: "a bcache device", offset: 0x1018, magic: [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca] },
  { description: "NTFS", offset: 3, magic: "NTFS    " },
  { description: "exFAT", offset: 3, magic: "EXFAT   " },
  { description: "ReiserFS", offset: 0x1_0034, magic: "ReIsEr" },
  { description: "JFS", offset: 0x8000, magic: "JFS1" },
  { description: "NILFS2", offset: 0x406, magic: [0x34, 0x34] },
  { description: "HFS+", offset: 0x400, magic: "H+" },
  { description: "APFS", offset: 32, magic: "NXSB" },
  { description: "UDF", offset: 0x8801, magic: "NSR0" },
  // The place is the end of a page, and pages have different sizes.
  ...[4096, 8192, 16_384, 65_536].map((page) => ({
    description: "swap space",
    offset: page - 10,
    magic: "SWAPSPACE2",
  })),
];

/** Uberblocks of the first ZFS label: a ring of them from 128 KiB on; which slots are used is chance. */
const ZFS_RING_OFFSET = 128 * 1024;
const ZFS_RING_SIZE = 128 * 1024;
const ZFS_SLOT = 1024;
const ZFS_MAGIC = [0x0c, 0xb1, 0xba, 0x00];

/** What lies on a partition that has no file system tsvm reads: words for people, or undefined if it is unknown. */
export function recognize(reader: BlockReader): string | undefined {
  const known = SIGNATURES.find(({ offset, magic }) => has(reader, offset, magic));
  if (known !== undefined) return known.description;
  if (isZfs(reader)) return "a member of a ZFS pool";
  if (isOldRaid(reader)) return "a member of a Linux RAID array";
  return undefined;
}

/** Whether the first 64 KiB are all zero: a disk or partition that was never written to. */
export function isBlank(reader: BlockReader): boolean {
  return bytesUpTo(reader, 0, 64 * 1024).every((byte) => byte === 0);
}

function has(reader: BlockReader, offset: number, magic: string | readonly number[]): boolean {
  if (offset < 0 || offset + magic.length > reader.size) return false;
  const expected = typeof magic === "string" ? Buffer.from(magic, "latin1") : Uint8Array.from(magic);
  return Buffer.compare(reader.bytes(offset, expected.length), expected) === 0;
}

function isZfs(reader: BlockReader): boolean {
  for (let at = 0; at < ZFS_RING_SIZE; at += ZFS_SLOT) {
    if (has(reader, ZFS_RING_OFFSET + at, ZFS_MAGIC)) return true;
  }
  return false;
}

/** Metadata versions 1.0 and 0.90 stand at the end. */
function isOldRaid(reader: BlockReader): boolean {
  const sectors = Math.floor(reader.size / 512);
  const v1 = Math.floor((sectors - 16) / 8) * 8 * 512;
  const v0 = Math.floor(reader.size / 65_536) * 65_536 - 65_536;
  return has(reader, v1, MD_MAGIC) || has(reader, v0, MD_MAGIC);
}
