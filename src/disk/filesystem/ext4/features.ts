/** Feature bits of ext2, ext3 and ext4, with the kernel's names without EXT4_FEATURE_. */

export const COMPAT_HAS_JOURNAL = 0x4;
export const COMPAT_FAST_COMMIT = 0x400;

export const INCOMPAT_FILETYPE = 0x2;
export const INCOMPAT_RECOVER = 0x4;
export const INCOMPAT_JOURNAL_DEV = 0x8;
export const INCOMPAT_META_BG = 0x10;
export const INCOMPAT_EXTENTS = 0x40;
export const INCOMPAT_64BIT = 0x80;
export const INCOMPAT_MMP = 0x100;
export const INCOMPAT_FLEX_BG = 0x200;
export const INCOMPAT_EA_INODE = 0x400;
export const INCOMPAT_CSUM_SEED = 0x2000;
export const INCOMPAT_LARGEDIR = 0x4000;
export const INCOMPAT_INLINE_DATA = 0x8000;
export const INCOMPAT_ENCRYPT = 0x1_0000;
export const INCOMPAT_CASEFOLD = 0x2_0000;

export const RO_COMPAT_SPARSE_SUPER = 0x1;
export const RO_COMPAT_GDT_CSUM = 0x10;
export const RO_COMPAT_METADATA_CSUM = 0x400;

/** What this reader knows how to read. Of the others a reader cannot know what they change. */
export const INCOMPAT_READABLE =
  INCOMPAT_FILETYPE |
  INCOMPAT_RECOVER |
  INCOMPAT_META_BG |
  INCOMPAT_EXTENTS |
  INCOMPAT_64BIT |
  INCOMPAT_MMP |
  INCOMPAT_FLEX_BG |
  INCOMPAT_EA_INODE |
  INCOMPAT_CSUM_SEED |
  INCOMPAT_LARGEDIR |
  INCOMPAT_INLINE_DATA |
  INCOMPAT_ENCRYPT |
  INCOMPAT_CASEFOLD;

export const INCOMPAT_NAMES: Readonly<Record<number, string>> = {
  0x1: "compression",
  [INCOMPAT_JOURNAL_DEV]: "journal_dev",
  0x1000: "dirdata",
};

/** i_flags. */
export const INODE_ENCRYPT = 0x800;
export const INODE_INDEX = 0x1000;
export const INODE_EXTENTS = 0x8_0000;
export const INODE_INLINE_DATA = 0x1000_0000;
