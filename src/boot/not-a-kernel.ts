/** The error for a file that is no kernel: what it looks like instead, and what to do with it. */
import { KernelFormatError } from "./errors.ts";
import { identifyOpenFile, type FileKind } from "./file-kind.ts";
import type { BootFile } from "./read-at.ts";

export function notAKernel(file: BootFile): KernelFormatError {
  const kind = identifyOpenFile(file);
  return new KernelFormatError(
    `${file.path} is not a kernel that can be booted: it looks like ${kind.description}`,
    advice(file.path, kind),
  );
}

const DECOMPRESS: Partial<Record<FileKind["kind"], string>> = {
  gzip: "gzip -dc",
  xz: "xz -dc",
  zstd: "zstd -dc",
  lz4: "lz4 -dc",
  bzip2: "bzip2 -dc",
  lzop: "lzop -dc",
  lzma: "xz --format=lzma -dc",
};

function advice(path: string, kind: FileKind): string {
  switch (kind.kind) {
    case "iso9660":
      return "take the kernel (vmlinuz) and the initrd out of the image and boot those; the image can go with them as --disk";
    case "unified-kernel-image":
      return `take the kernel out of it: objcopy -O binary --only-section=.linux ${path} vmlinuz`;
    case "cpio":
      return "this may be an initrd: give it as --initrd, along with a kernel";
    case "git-lfs":
      return "fetch the file itself: git lfs pull";
    case "empty":
    case "html":
      return "copy or download the file again";
  }
  switch (kind.role) {
    case "compressed":
      return `decompress it first (${DECOMPRESS[kind.kind] ?? "decompress"} ${path} > kernel); if it is an initrd, give it as --initrd`;
    case "disk":
      return "give a disk image as --disk, along with a kernel";
    case "archive":
      return "unpack it, and boot the kernel in it";
    case "foreign-kernel":
      return "use a kernel built for x86-64: a bzImage (vmlinuz) or an ELF vmlinux";
    default:
      return "a bzImage (vmlinuz) or an ELF kernel (vmlinux) for x86-64 can be booted";
  }
}
