/** A machine's kernel taken from its disk: found when the machine is decided on, read when it is put together. */
import { closeSync } from "node:fs";
import type { BootFile } from "../../boot/read-at.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import { openDisk } from "../open.ts";
import { fileSource } from "../source/file-source.ts";
import type { BootEntry } from "./boot-entry.ts";
import { extractFile, extractInitrds } from "./extract.ts";
import { findKernel } from "./find-kernel.ts";

export interface ImageKernel {
  /** Path of the image. */
  readonly image: string;
  readonly entry: BootEntry;
}

/** Opens an image to look into it. Throws a DiskError or FilesystemError where it cannot be read. */
export function openDiskImage(path: string): { image: DiskImage; close(): void } {
  const { fd, size } = openDisk(path, { readOnly: true, ephemeral: false });
  const close = (): void => closeSync(fd);
  try {
    return { image: new DiskImage(path, fileSource(path, fd, size)), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens the image for as long as `action`, which is synchronous, runs. */
export function withDiskImage<T>(path: string, action: (image: DiskImage) => T): T {
  const { image, close } = openDiskImage(path);
  try {
    return action(image);
  } finally {
    close();
  }
}

/**
 * What the image would boot: the default entry, or the one of that title, id or kernel.
 * @throws {NoKernelError} if it has none.
 */
export function findImageKernel(path: string, entry?: string): ImageKernel {
  return { image: path, entry: withDiskImage(path, (image) => findKernel(image, { entry }).entry) };
}

/** Kernel and initrd as files in memory, which the caller closes. */
export function extractImageKernel({ image, entry }: ImageKernel): {
  kernel: BootFile;
  initrd: BootFile | undefined;
} {
  return withDiskImage(image, (disk) => {
    const kernel = extractFile(disk, entry.kernel);
    try {
      return { kernel, initrd: extractInitrds(disk, entry.initrds) };
    } catch (error) {
      closeSync(kernel.fd);
      throw error;
    }
  });
}

/**
 * The entry's command line for a machine that has the image as its first virtio disk: a root that is called by another kind of
 * disk's name, such as /dev/sda2, is called /dev/vda2.
 */
export function imageCommandLine({ entry: { commandLine, root } }: ImageKernel): string {
  if (root === undefined) return commandLine;
  return commandLine.replaceAll(
    /(^|\s)root=\/dev\/(?!vda|disk\/|mapper\/)\S+/g,
    `$1root=/dev/vda${root.partition ?? ""}`,
  );
}
