import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cpioArchive } from "./cpio.ts";
import { ET_CORE, ET_DYN, ET_REL } from "./elf-format.ts";
import { HEAD_SIZE, identifyFile, identifyPath, type FileKind } from "./file-kind.ts";
import { buildBzImage } from "./testing/build-bzimage.ts";
import { buildElf } from "./testing/build-elf.ts";
import { withFile } from "./testing/files.ts";

type Patch = readonly [offset: number, bytes: string | readonly number[]];

/** A file of this size with bytes at some offsets, and noise everywhere else. */
function fileWith(patches: readonly Patch[], size = HEAD_SIZE): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes[size - 1] = 0x99;
  for (const [offset, value] of patches) {
    bytes.set(
      typeof value === "string" ? Uint8Array.from(value, (char) => char.charCodeAt(0)) : value,
      offset,
    );
  }
  return bytes;
}

const identify = (bytes: Uint8Array): FileKind => identifyFile(bytes.subarray(0, HEAD_SIZE), bytes.length);
const signature: Patch = [0x1fe, [0x55, 0xaa]];
const u32 = (value: number): number[] => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  value >>> 24,
];

describe("identifyFile", () => {
  it.each<[string, string, string, Uint8Array]>([
    ["bzImage", "kernel", "a Linux kernel (bzImage)", buildBzImage()],
    ["bzImage", "kernel", "a 32-bit Linux kernel (bzImage)", buildBzImage({ header: { xloadflags: 0 } })],
    ["elf", "kernel", "an ELF executable for x86-64", buildElf()],
    ["elf", "kernel", "an ELF executable for 32-bit x86", buildElf({ bits: 32 })],
    ["elf", "program", "an ELF executable for arm64", buildElf({ e_machine: 183 })],
    ["elf", "program", "an ELF object file or kernel module for x86-64", buildElf({ e_type: ET_REL })],
    ["elf", "program", "an ELF program or shared library for x86-64", buildElf({ e_type: ET_DYN })],
    ["elf", "program", "an ELF core dump for x86-64", buildElf({ e_type: ET_CORE })],
    [
      "arm64-image",
      "foreign-kernel",
      "an arm64 Linux Image",
      fileWith([
        [0, "MZ"],
        [0x38, "ARMd"],
      ]),
    ],
    ["riscv-image", "foreign-kernel", "a RISC-V Linux Image", fileWith([[0x38, "RSC\x05"]])],
    ["iso9660", "disk", "an ISO 9660 image", fileWith([[0x8001, "CD001"], signature])],
    ["qcow2", "disk", "a qcow2 disk image", fileWith([[0, "QFI\xfb"]])],
    ["vmdk", "disk", "a VMDK disk image", fileWith([[0, "KDMV"]])],
    ["vdi", "disk", "a VDI disk image (VirtualBox)", fileWith([[0x40, [0x7f, 0x10, 0xda, 0xbe]]])],
    ["vhdx", "disk", "a VHDX disk image (Hyper-V)", fileWith([[0, "vhdxfile"]])],
    ["squashfs", "disk", "a squashfs file system", fileWith([[0, "hsqs"]])],
    ["ext2", "disk", "an ext2 file system", fileWith([[0x438, [0x53, 0xef]]])],
    [
      "ext3",
      "disk",
      "an ext3 file system",
      fileWith([
        [0x438, [0x53, 0xef]],
        [0x45c, [4]],
      ]),
    ],
    [
      "ext4",
      "disk",
      "an ext4 file system",
      fileWith([
        [0x438, [0x53, 0xef]],
        [0x45c, [4]],
        [0x460, [0xc2, 2]],
      ]),
    ],
    ["fat", "disk", "a FAT file system", fileWith([[0x36, "FAT16   "], signature])],
    ["fat", "disk", "a FAT file system", fileWith([[0x52, "FAT32   "], signature])],
    ["btrfs", "disk", "a Btrfs file system", fileWith([[0x1_0040, "_BHRfS_M"]])],
    ["xfs", "disk", "an XFS file system", fileWith([[0, "XFSB"]])],
    ["gzip", "compressed", "a gzip file", gzipSync("hello")],
    ["xz", "compressed", "an xz file", fileWith([[0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]]])],
    ["zstd", "compressed", "a zstd file", fileWith([[0, [0x28, 0xb5, 0x2f, 0xfd]]])],
    ["lz4", "compressed", "an lz4 file", fileWith([[0, [0x04, 0x22, 0x4d, 0x18]]])],
    ["bzip2", "compressed", "a bzip2 file", fileWith([[0, "BZh9"]])],
    ["cpio", "archive", "a cpio archive", cpioArchive([])],
    [
      "tar",
      "archive",
      "a tar archive",
      fileWith([
        [0, "etc/"],
        [257, "ustar\0"],
      ]),
    ],
    ["dos-program", "program", "a DOS program", fileWith([[0, "MZ"]])],
    ["script", "text", "a script for /bin/sh", fileWith([[0, "#!/bin/sh\nexit\n"]], 15)],
    ["empty", "other", "an empty file", new Uint8Array(0)],
    ["zeros", "disk", "a file of zeros", new Uint8Array(4096)],
    ["unknown", "other", "unknown data", fileWith([[0, [0xde, 0xad]]])],
    ["boot-sector", "disk", "a boot sector without partitions", fileWith([[0, [0xfa]], signature])],
  ])("%s, %s: %s", (kind, role, description, bytes) => {
    expect(identify(bytes)).toMatchObject({ kind, role, description });
  });

  it("counts and names the partitions of an MBR", () => {
    const partition = (status: number, type: number): number[] => [
      status,
      0,
      0,
      0,
      type,
      0,
      0,
      0,
      ...u32(2048),
      ...u32(4096),
    ];
    const kind = identify(fileWith([[0x1be, partition(0x80, 0x83)], [0x1ce, partition(0, 0x42)], signature]));
    expect(kind).toMatchObject({
      kind: "mbr",
      description: "a disk image with an MBR partition table (2 partitions: Linux, type 0x42)",
      partitions: [
        { type: 0x83, bootable: true, firstSector: 2048, sectors: 4096 },
        { type: 0x42, bootable: false },
      ],
    });
  });

  it("takes boot code in the place of a partition table for what it is", () => {
    const code = Array.from({ length: 64 }, (_, index) => 0x40 + index);
    expect(identify(fileWith([[0x1be, code], signature]))).toMatchObject({ kind: "boot-sector" });
  });

  it.each([512, 4096])("finds the partitions of a GPT in sectors of %d bytes", (sector) => {
    const protective = [0, 0, 0, 0, 0xee, 0, 0, 0, ...u32(1), ...u32(9999)];
    const kind = identify(
      fileWith([
        [0x1be, protective],
        signature,
        [sector, "EFI PART"],
        [sector + 72, u32(2)],
        [sector + 80, [...u32(128), ...u32(128)]],
        [sector * 2, [1]],
        [sector * 2 + 256, [1]],
      ]),
    );
    expect(kind).toMatchObject({ kind: "gpt", partitions: [1, 3] });
  });

  it("tells EFI programs, Windows programs and unified kernel images apart", () => {
    const pe = (subsystem: number, section: string): Uint8Array =>
      fileWith([
        [0, "MZ"],
        [0x3c, u32(0x80)],
        [0x80, "PE\0\0"],
        [0x86, [1, 0]],
        [0x94, [0xf0, 0]],
        [0x98 + 68, [subsystem]],
        [0x98 + 0xf0, section],
      ]);
    expect(identify(pe(10, ".text"))).toMatchObject({ kind: "efi-program", description: "an EFI program" });
    expect(identify(pe(3, ".text"))).toMatchObject({ kind: "windows-program" });
    expect(identify(pe(10, ".linux\0\0"))).toMatchObject({ kind: "unified-kernel-image" });
  });

  it.each([
    ["yaml", "# a machine\nname: web\nmemory: 64M\n"],
    ["yaml", "---\n- a\n"],
    ["json", '{ "name": "web" }'],
    ["json", "{}"],
    ["json", "[1, 2]"],
    ["xml", '<?xml version="1.0"?>\n<domain/>'],
    ["xml", "<domain type='kvm'>"],
    ["html", "<!DOCTYPE html><html>"],
    ["git-lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n"],
    ["text", "Hello, world.\n"],
    ["text", "grüße\n"],
  ])("%s: %j", (kind, text) => {
    expect(identify(new TextEncoder().encode(text))).toMatchObject({ kind, role: "text" });
  });

  it("never throws and always has something to say", () => {
    const marks = fc.constantFrom<Patch>(
      [0, "MZ"],
      [0, "\x7fELF"],
      [0x1fe, [0x55, 0xaa]],
      [512, "EFI PART"],
      [0, "#!"],
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2048 }), fc.array(marks), fc.nat(), (bytes, patches, more) => {
        for (const [offset, value] of patches) {
          const mark =
            typeof value === "string" ? Uint8Array.from(value, (char) => char.charCodeAt(0)) : value;
          if (offset + mark.length <= bytes.length) bytes.set(mark, offset);
        }
        expect(identifyFile(bytes, bytes.length + more).description).toMatch(/^\S.*\S$/s);
      }),
    );
  });
});

describe("identifyPath", () => {
  it("reads as much of the file as it takes", () => {
    withFile(fileWith([[0x1_0040, "_BHRfS_M"]], 0x2_0000), ({ path }) => {
      expect(identifyPath(path).kind).toBe("btrfs");
    });
  });
});
