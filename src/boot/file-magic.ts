/** Formats that a few bytes at a fixed place give away, each with its words for people. */

/**
 * What a file is good for: a `kernel` can be given to the kernel loader (which may still find fault with it), a `disk` can be
 * attached as one. `foreign-kernel`: a kernel, but for another machine or another boot loader.
 */
export type FileRole =
  "kernel" | "foreign-kernel" | "disk" | "compressed" | "archive" | "program" | "text" | "other";

interface Magic {
  readonly kind: string;
  readonly role: FileRole;
  readonly description: string;
  /** All of these must be there: offset in bytes, and bytes or Latin-1 text. */
  readonly magic: readonly (readonly [offset: number, bytes: string | readonly number[]])[];
}

/** Kernels of others; before anything else, because many of them pass for an EFI program too. */
export const KERNEL_MAGIC = [
  {
    kind: "arm64-image",
    role: "foreign-kernel",
    description: "an arm64 Linux Image",
    magic: [[0x38, "ARMd"]],
  },
  {
    kind: "riscv-image",
    role: "foreign-kernel",
    description: "a RISC-V Linux Image",
    magic: [[0x38, "RSC\x05"]],
  },
  {
    kind: "arm-zimage",
    role: "foreign-kernel",
    description: "a 32-bit Arm Linux zImage",
    magic: [[0x24, [0x18, 0x28, 0x6f, 0x01]]],
  },
  {
    kind: "efi-zboot",
    role: "foreign-kernel",
    description: "a compressed Linux EFI image (zboot) for another machine than x86",
    magic: [
      [0, "MZ"],
      [4, "zimg"],
    ],
  },
  {
    kind: "uimage",
    role: "foreign-kernel",
    description: "a U-Boot image (uImage)",
    magic: [[0, [0x27, 0x05, 0x19, 0x56]]],
  },
  {
    kind: "android-boot",
    role: "foreign-kernel",
    description: "an Android boot image",
    magic: [[0, "ANDROID!"]],
  },
] as const satisfies readonly Magic[];

/** Optical disc and virtual disk formats. */
export const CONTAINER_MAGIC = [
  { kind: "iso9660", role: "disk", description: "an ISO 9660 image", magic: [[0x8001, "CD001"]] },
  { kind: "qcow2", role: "disk", description: "a qcow2 disk image", magic: [[0, "QFI\xfb"]] },
  { kind: "vmdk", role: "disk", description: "a VMDK disk image", magic: [[0, "KDMV"]] },
  { kind: "vmdk", role: "disk", description: "a VMDK disk image", magic: [[0, "# Disk DescriptorFile"]] },
  {
    kind: "vdi",
    role: "disk",
    description: "a VDI disk image (VirtualBox)",
    magic: [[0x40, [0x7f, 0x10, 0xda, 0xbe]]],
  },
  { kind: "vhdx", role: "disk", description: "a VHDX disk image (Hyper-V)", magic: [[0, "vhdxfile"]] },
  { kind: "vhd", role: "disk", description: "a VHD disk image", magic: [[0, "conectix"]] },
] as const satisfies readonly Magic[];

/** File systems and the like, without a partition table around them. ext2, 3 and 4 need a closer look and are not here. */
export const FILE_SYSTEM_MAGIC = [
  { kind: "squashfs", role: "disk", description: "a squashfs file system", magic: [[0, "hsqs"]] },
  { kind: "xfs", role: "disk", description: "an XFS file system", magic: [[0, "XFSB"]] },
  { kind: "btrfs", role: "disk", description: "a Btrfs file system", magic: [[0x1_0040, "_BHRfS_M"]] },
  {
    kind: "erofs",
    role: "disk",
    description: "an EROFS file system",
    magic: [[0x400, [0xe2, 0xe1, 0xf5, 0xe0]]],
  },
  {
    kind: "f2fs",
    role: "disk",
    description: "an F2FS file system",
    magic: [[0x400, [0x10, 0x20, 0xf5, 0xf2]]],
  },
  {
    kind: "fat",
    role: "disk",
    description: "a FAT file system",
    magic: [
      [0x36, "FAT1"],
      [0x1fe, [0x55, 0xaa]],
    ],
  },
  {
    kind: "fat",
    role: "disk",
    description: "a FAT file system",
    magic: [
      [0x52, "FAT32   "],
      [0x1fe, [0x55, 0xaa]],
    ],
  },
  { kind: "exfat", role: "disk", description: "an exFAT file system", magic: [[3, "EXFAT   "]] },
  { kind: "ntfs", role: "disk", description: "an NTFS file system", magic: [[3, "NTFS    "]] },
  { kind: "luks", role: "disk", description: "an encrypted disk (LUKS)", magic: [[0, "LUKS\xba\xbe"]] },
  { kind: "lvm", role: "disk", description: "an LVM physical volume", magic: [[0x200, "LABELONE"]] },
  { kind: "swap", role: "disk", description: "Linux swap space", magic: [[0xff6, "SWAPSPACE2"]] },
] as const satisfies readonly Magic[];

export const COMPRESSION_MAGIC = [
  { kind: "gzip", role: "compressed", description: "a gzip file", magic: [[0, [0x1f, 0x8b]]] },
  {
    kind: "xz",
    role: "compressed",
    description: "an xz file",
    magic: [[0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]]],
  },
  {
    kind: "zstd",
    role: "compressed",
    description: "a zstd file",
    magic: [[0, [0x28, 0xb5, 0x2f, 0xfd]]],
  },
  {
    kind: "lz4",
    role: "compressed",
    description: "an lz4 file",
    magic: [[0, [0x04, 0x22, 0x4d, 0x18]]],
  },
  {
    kind: "lz4",
    role: "compressed",
    description: "an lz4 file",
    magic: [[0, [0x02, 0x21, 0x4c, 0x18]]],
  },
  { kind: "bzip2", role: "compressed", description: "a bzip2 file", magic: [[0, "BZh"]] },
  {
    kind: "lzop",
    role: "compressed",
    description: "an lzop file",
    magic: [[0, [0x89, 0x4c, 0x5a, 0x4f, 0x00]]],
  },
  {
    kind: "lzma",
    role: "compressed",
    description: "an lzma file",
    magic: [[0, [0x5d, 0x00, 0x00]]],
  },
] as const satisfies readonly Magic[];

export const ARCHIVE_MAGIC = [
  { kind: "cpio", role: "archive", description: "a cpio archive", magic: [[0, "070701"]] },
  { kind: "cpio", role: "archive", description: "a cpio archive", magic: [[0, "070702"]] },
  { kind: "cpio", role: "archive", description: "a cpio archive", magic: [[0, "070707"]] },
  { kind: "cpio", role: "archive", description: "a cpio archive", magic: [[0, [0xc7, 0x71]]] },
  { kind: "tar", role: "archive", description: "a tar archive", magic: [[257, "ustar"]] },
  { kind: "zip", role: "archive", description: "a zip archive", magic: [[0, "PK\x03\x04"]] },
  {
    kind: "7z",
    role: "archive",
    description: "a 7z archive",
    magic: [[0, [0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c]]],
  },
  {
    kind: "deb",
    role: "archive",
    description: "a Debian package",
    magic: [[0, "!<arch>\ndebian"]],
  },
  {
    kind: "rpm",
    role: "archive",
    description: "an RPM package",
    magic: [[0, [0xed, 0xab, 0xee, 0xdb]]],
  },
  {
    kind: "device-tree",
    role: "other",
    description: "a device tree",
    magic: [[0, [0xd0, 0x0d, 0xfe, 0xed]]],
  },
] as const satisfies readonly Magic[];

/** A kind that its magic alone decides. */
export type MagicKind =
  | (typeof KERNEL_MAGIC)[number]["kind"]
  | (typeof CONTAINER_MAGIC)[number]["kind"]
  | (typeof FILE_SYSTEM_MAGIC)[number]["kind"]
  | (typeof COMPRESSION_MAGIC)[number]["kind"]
  | (typeof ARCHIVE_MAGIC)[number]["kind"];
