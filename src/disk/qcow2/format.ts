/**
 * The qcow2 format, versions 2 and 3, as far as numbers go. Source of all of it: QEMU, docs/interop/qcow2.rst; the limits are
 * those of QEMU's driver. Everything in a file is big-endian. 64-bit values are handled as two 32-bit halves, offsets as
 * JavaScript numbers: no file is larger than 2^53 bytes.
 */

/** "QFI\xfb" */
export const QCOW2_MAGIC = 0x5146_49fb;

export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
export const MAX_L1_BYTES = 32 * 2 ** 20;
export const MAX_REFCOUNT_TABLE_BYTES = 8 * 2 ** 20;
export const MAX_SNAPSHOTS = 65_536;
export const MAX_SNAPSHOT_TABLE_BYTES = 64 * 2 ** 20;
export const MAX_BACKING_NAME_BYTES = 1023;
export const ENTRY_BYTES = 8;
export const SECTOR = 512;

/** Where things stand in the header, in bytes. */
export const HEADER = {
  magic: 0,
  version: 4,
  backingFileOffset: 8,
  backingFileSize: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Size: 36,
  l1TableOffset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshotCount: 60,
  snapshotsOffset: 64,
  /** From here on version 3 only. */
  incompatibleFeatures: 72,
  compatibleFeatures: 80,
  autoclearFeatures: 88,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
} as const;
export const V2_HEADER_BYTES = 72;
export const V3_HEADER_BYTES = 104;
/** Version 2 has no field for it: 16 bits. */
export const V2_REFCOUNT_ORDER = 4;
export const MAX_REFCOUNT_ORDER = 6;

export const INCOMPATIBLE_DIRTY = 1 << 0;
export const INCOMPATIBLE_CORRUPT = 1 << 1;
export const INCOMPATIBLE_DATA_FILE = 1 << 2;
export const INCOMPATIBLE_COMPRESSION_TYPE = 1 << 3;
export const INCOMPATIBLE_EXTENDED_L2 = 1 << 4;
export const COMPATIBLE_LAZY_REFCOUNTS = 1 << 0;
export const AUTOCLEAR_BITMAPS = 1 << 0;

export const EXTENSION_END = 0;
export const EXTENSION_BACKING_FORMAT = 0xe279_2aca;
export const EXTENSION_FEATURE_NAMES = 0x6803_f857;
export const EXTENSION_BITMAPS = 0x2385_2875;
export const FEATURE_NAME_BYTES = 48;

/** L1 and L2 entries: flags in the upper half, */
export const COPIED_HIGH = 0x8000_0000;
export const COMPRESSED_HIGH = 0x4000_0000;
export const OFFSET_HIGH = 0x00ff_ffff;
/** offset and "reads as zeros" in the lower one. */
export const OFFSET_LOW = 0xffff_fe00;
export const ZERO_LOW = 1;

/** The host offset in an L1 or standard L2 entry. */
export function entryOffset(high: number, low: number): number {
  return (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
}

/** The upper half of an entry that points to `offset`, which nobody else uses. */
export function copiedHigh(offset: number): number {
  return (Math.floor(offset / 2 ** 32) | COPIED_HIGH) >>> 0;
}

/** Of a compressed cluster's L2 entry: where the packed bytes lie, counted in whole 512-byte sectors from `sectorOffset`. */
export interface CompressedRange {
  offset: number;
  /** Bytes from `offset` to the end of the last sector. */
  bytes: number;
}

/** Decodes into `range`, so that nothing is allocated. */
export function decodeCompressed(
  high: number,
  low: number,
  clusterBits: number,
  range: CompressedRange,
): CompressedRange {
  const offsetBits = 62 - (clusterBits - 8);
  const offsetHigh = high & (2 ** (offsetBits - 32) - 1);
  const sectors = ((high & 0x3fff_ffff) >>> (offsetBits - 32)) + 1;
  range.offset = offsetHigh * 2 ** 32 + (low >>> 0);
  range.bytes = sectors * SECTOR - (low & (SECTOR - 1));
  return range;
}

/** Whether guest data can be written to where this entry says, without a change of the entry. */
export function isWritable(high: number, low: number): boolean {
  return (
    (high & COPIED_HIGH) !== 0 &&
    (high & COMPRESSED_HIGH) === 0 &&
    (low & ZERO_LOW) === 0 &&
    entryOffset(high, low) !== 0
  );
}
