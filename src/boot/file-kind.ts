/**
 * Says what a file is by its first bytes: to tell a kernel from a disk image, and to say what a file looks like that is
 * neither.
 *
 * @example
 * const kind = identifyPath("debian.iso");
 * kind.kind;         // "iso9660"
 * kind.role;         // "disk"
 * kind.description;  // "an ISO 9660 image"
 */
import { closeSync } from "node:fs";
import { isBzImage } from "./bzimage.ts";
import {
  ELFCLASS32,
  ELFDATA2LSB,
  EM_386,
  EM_X86_64,
  ET_CORE,
  ET_DYN,
  ET_EXEC,
  ET_REL,
  isElf,
  machineName,
} from "./elf-format.ts";
import { FileHead } from "./file-head.ts";
import {
  ARCHIVE_MAGIC,
  COMPRESSION_MAGIC,
  CONTAINER_MAGIC,
  FILE_SYSTEM_MAGIC,
  KERNEL_MAGIC,
  type FileRole,
  type MagicKind,
} from "./file-magic.ts";
import { gptPartitionNumbers, mbrPartitions, type MbrPartition } from "./partition-kind.ts";
import { peKind, type PeKind } from "./pe-kind.ts";
import { openBootFile, readAt, type BootFile } from "./read-at.ts";
import { textKind, type TextKind } from "./text-kind.ts";

export type { FileRole } from "./file-magic.ts";

/** How much of a file {@link identifyFile} wants to see, in bytes: the superblock of Btrfs is the furthest thing. */
export const HEAD_SIZE = 0x1_1000;

export type ElfFileType = "executable" | "relocatable" | "shared" | "core" | "unknown";

/** What a file is. `description` is for people and comes with its article: "an ISO 9660 image". */
export type FileKind = { readonly role: FileRole; readonly description: string } & (
  | { readonly kind: "bzImage"; readonly is64: boolean }
  | {
      readonly kind: "elf";
      readonly bits: 32 | 64;
      /** e_machine; {@link machine} has its name. */
      readonly e_machine: number;
      readonly machine: string;
      readonly type: ElfFileType;
    }
  | { readonly kind: "gpt"; readonly partitions: readonly number[] }
  | { readonly kind: "mbr"; readonly partitions: readonly MbrPartition[] }
  | { readonly kind: "ext2" | "ext3" | "ext4" }
  | { readonly kind: "boot-sector" | "empty" | "zeros" | "unknown" }
  | { readonly kind: MagicKind }
  | { readonly kind: PeKind }
  | { readonly kind: TextKind }
);

/** Identifies the file at `path`. Throws BootFileError if it cannot be read. */
export function identifyPath(path: string): FileKind {
  const file = openBootFile(path);
  try {
    return identifyOpenFile(file);
  } finally {
    closeSync(file.fd);
  }
}

export function identifyOpenFile(file: BootFile): FileKind {
  return identifyFile(readAt(file, 0, HEAD_SIZE), file.size);
}

/**
 * @param bytes The first {@link HEAD_SIZE} bytes of the file, or all of a shorter one. With fewer, formats whose mark lies
 *   further in go unnoticed.
 * @param fileSize Bytes.
 */
export function identifyFile(bytes: Uint8Array, fileSize: number): FileKind {
  const head = new FileHead(bytes);
  if (fileSize === 0 || bytes.length === 0) {
    return { kind: "empty", role: "other", description: "an empty file" };
  }
  if (head.isZero()) {
    return {
      kind: "zeros",
      role: "disk",
      description: `${bytes.length === fileSize ? "" : "an empty disk, or "}a file of zeros`,
    };
  }
  // Most telling first: an ISO image often has an MBR, a FAT boot sector resembles one, and a bzImage is an EFI program.
  return (
    bzImageKind(head) ??
    elfKind(head) ??
    byMagic(head, KERNEL_MAGIC) ??
    byMagic(head, CONTAINER_MAGIC) ??
    gptKind(head) ??
    extKind(head) ??
    byMagic(head, FILE_SYSTEM_MAGIC) ??
    mbrKind(head) ??
    byMagic(head, COMPRESSION_MAGIC) ??
    byMagic(head, ARCHIVE_MAGIC) ??
    withRole("program", peKind(head)) ??
    withRole("text", textKind(head)) ?? { kind: "unknown", role: "other", description: "unknown data" }
  );
}

function bzImageKind(head: FileHead): FileKind | undefined {
  if (!isBzImage(head.bytes)) return undefined;
  // version and xloadflags of the setup header: boot.rst.
  const is64 = head.u16(0x206) >= 0x020c && (head.u16(0x236) & 1) !== 0;
  return {
    kind: "bzImage",
    role: "kernel",
    is64,
    description: is64 ? "a Linux kernel (bzImage)" : "a 32-bit Linux kernel (bzImage)",
  };
}

function elfKind(head: FileHead): FileKind | undefined {
  if (!isElf(head.bytes)) return undefined;
  const bits = head.u8(4) === ELFCLASS32 ? 32 : 64;
  const littleEndian = head.u8(5) === ELFDATA2LSB;
  const half = (offset: number): number => {
    const value = head.u16(offset);
    return littleEndian ? value : ((value & 0xff) << 8) | (value >> 8);
  };
  const e_machine = half(18);
  const e_type = half(16);
  const machine = machineName(e_machine);
  const type = ELF_TYPES[e_type] ?? "unknown";
  const role =
    type === "executable" && (e_machine === EM_X86_64 || e_machine === EM_386) ? "kernel" : "program";
  return {
    kind: "elf",
    role,
    bits,
    e_machine,
    machine,
    type,
    description: `${ELF_TYPE_NAMES[type]} for ${machine}`,
  };
}

const ELF_TYPES: Readonly<Record<number, ElfFileType>> = {
  [ET_REL]: "relocatable",
  [ET_EXEC]: "executable",
  [ET_DYN]: "shared",
  [ET_CORE]: "core",
};

const ELF_TYPE_NAMES: Readonly<Record<ElfFileType, string>> = {
  executable: "an ELF executable",
  relocatable: "an ELF object file or kernel module",
  shared: "an ELF program or shared library",
  core: "an ELF core dump",
  unknown: "an ELF file",
};

interface Named<K extends string> {
  readonly kind: K;
  readonly description: string;
}

function withRole<K extends PeKind | TextKind>(
  role: FileRole,
  named: Named<K> | undefined,
): FileKind | undefined {
  return named === undefined ? undefined : { role, kind: named.kind, description: named.description };
}

interface Magic extends Named<MagicKind> {
  readonly role: FileRole;
  readonly magic: readonly (readonly [offset: number, bytes: string | readonly number[]])[];
}

function byMagic(head: FileHead, magics: readonly Magic[]): FileKind | undefined {
  const found = magics.find(({ magic }) => magic.every(([offset, bytes]) => head.has(offset, bytes)));
  return found && { kind: found.kind, role: found.role, description: found.description };
}

function gptKind(head: FileHead): FileKind | undefined {
  const partitions = gptPartitionNumbers(head);
  if (partitions === undefined) return undefined;
  const description = `a disk image with a GPT partition table (${count(partitions.length, "partition")})`;
  return { kind: "gpt", role: "disk", partitions, description };
}

function mbrKind(head: FileHead): FileKind | undefined {
  const partitions = mbrPartitions(head);
  if (partitions !== undefined) {
    const types = partitions.map(({ typeName }) => typeName).join(", ");
    return {
      kind: "mbr",
      role: "disk",
      partitions,
      description: `a disk image with an MBR partition table (${count(partitions.length, "partition")}: ${types})`,
    };
  }
  if (!head.has(0x1fe, [0x55, 0xaa])) return undefined;
  // An EFI program may have the signature by chance of its DOS stub.
  if (head.has(0, "MZ")) return undefined;
  return { kind: "boot-sector", role: "disk", description: "a boot sector without partitions" };
}

const EXT_MAGIC = [0x53, 0xef];
const EXT_SUPERBLOCK = 0x400;
const HAS_JOURNAL = 0x4;
/** Extents, 64 bits, flexible block groups: what ext4 has and ext3 has not. */
const EXT4_INCOMPAT = 0x2c0;

function extKind(head: FileHead): FileKind | undefined {
  if (!head.has(EXT_SUPERBLOCK + 0x38, EXT_MAGIC)) return undefined;
  const compat = head.u32(EXT_SUPERBLOCK + 0x5c);
  const incompat = head.u32(EXT_SUPERBLOCK + 0x60);
  const kind = (incompat & EXT4_INCOMPAT) !== 0 ? "ext4" : (compat & HAS_JOURNAL) !== 0 ? "ext3" : "ext2";
  return { kind, role: "disk", description: `an ${kind} file system` };
}

function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}
