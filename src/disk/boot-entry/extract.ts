/** Takes kernel and initrds out of an image, into files in memory that the kernel loader reads like any other. */
import { closeSync } from "node:fs";
import type { BootFile } from "../../boot/read-at.ts";
import { MFD_CLOEXEC } from "../../ffi/constants.ts";
import { check, ftruncate, memfd_create } from "../../ffi/libc.ts";
import type { DiskImage } from "../filesystem/disk-image.ts";
import { FilesystemError } from "../filesystem/errors.ts";
import { fileAt } from "../filesystem/read.ts";
import { writeAll } from "./write-all.ts";
import type { ImageFile } from "./boot-entry.ts";
import { MAX_BOOT_FILE_SIZE } from "./candidate.ts";

/** memfd_create(2): 249 bytes without the prefix that the kernel adds. */
const MAX_MEMFD_NAME = 200;
/** Where several follow each other, each begins at a multiple of this: kernel document early-userspace/buffer-format.rst. */
const INITRD_ALIGNMENT = 4;

/**
 * One file of the image. The caller closes `fd`. `path` is what errors call it: `debian.img:2:/boot/vmlinuz-6.1`.
 *
 * @throws {FilesystemError} if it cannot be read, or is larger than 1 GiB. @throws {ImagePathError} if it is not there.
 */
export function extractFile(image: DiskImage, file: ImageFile): BootFile {
  return extract(image, [file], nameOf(image, file));
}

/**
 * Several initrds as one; undefined if there is none. The caller closes `fd`. Errors as of {@link extractFile}, and for all of
 * them together.
 */
export function extractInitrds(image: DiskImage, files: readonly ImageFile[]): BootFile | undefined {
  if (files.length === 0) return undefined;
  return extract(image, files, files.map((file) => nameOf(image, file)).join(" + "));
}

function extract(image: DiskImage, files: readonly ImageFile[], name: string): BootFile {
  const starts: number[] = [];
  let size = 0;
  for (const file of files) {
    const start = Math.ceil(size / INITRD_ALIGNMENT) * INITRD_ALIGNMENT;
    starts.push(start);
    size = start + file.size;
  }
  if (size > MAX_BOOT_FILE_SIZE) throw new FilesystemError(name, `too large to be loaded (${size} bytes)`);
  const fd = check(memfd_create(name.slice(0, MAX_MEMFD_NAME), MFD_CLOEXEC), "memfd_create");
  try {
    check(ftruncate(fd, size), "ftruncate", name);
    files.forEach((file, index) => copy(image, file, fd, starts[index]!));
    return { fd, path: name, size };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Holes stay holes: what is not written is zero. */
function copy(
  image: DiskImage,
  { partition, path, offset, size }: ImageFile,
  fd: number,
  start: number,
): void {
  const fs = image.filesystem(partition);
  const node = fileAt(fs, path);
  if (offset + size > node.size) throw new FilesystemError(fs.name, `${path}: is smaller than it was`);
  for (const piece of node.content(offset, offset + size)) {
    writeAll(fd, piece.bytes, start + piece.offset - offset);
  }
}

function nameOf(image: DiskImage, { partition, path }: ImageFile): string {
  return partition === undefined ? `${image.name}:${path}` : `${image.name}:${partition}:${path}`;
}
