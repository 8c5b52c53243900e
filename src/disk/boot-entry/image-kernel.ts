/** A machine's kernel taken from its disk: found when the machine is decided on, read when it is put together. */
import { closeSync } from "node:fs";
import type { BootFile } from "../../boot/read-at.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import { openDisk } from "../open.ts";
import { buildDisk, type ImageFormat } from "../plan.ts";
import { diskSource } from "../source/disk-source.ts";
import type { BootEntry } from "./boot-entry.ts";
import { extractFile, extractInitrds } from "./extract.ts";
import { findKernel } from "./find-kernel.ts";

export interface ImageKernel {
  /** Path of the image, and its format where that is known. */
  readonly image: string;
  readonly format?: ImageFormat | undefined;
  readonly entry: BootEntry;
}

/** Opens an image to look into it. Throws a DiskError or FilesystemError where it cannot be read. */
export function openDiskImage(path: string, format?: ImageFormat): { image: DiskImage; close(): void } {
  const { plan, fds } = openDisk(path, { readOnly: true, ephemeral: false, format });
  const close = (): void => {
    for (const fd of fds) closeSync(fd);
  };
  try {
    return { image: new DiskImage(path, diskSource(path, buildDisk(plan))), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens the image for as long as `action`, which is synchronous, runs. */
export function withDiskImage<T>(path: string, action: (image: DiskImage) => T, format?: ImageFormat): T {
  const { image, close } = openDiskImage(path, format);
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
export function findImageKernel(path: string, entry?: string, format?: ImageFormat): ImageKernel {
  const found = withDiskImage(path, (image) => findKernel(image, { entry }).entry, format);
  return { image: path, format, entry: found };
}

/** Kernel and initrd as files in memory, which the caller closes. */
export function extractImageKernel({ image, format, entry }: ImageKernel): {
  kernel: BootFile;
  initrd: BootFile | undefined;
} {
  const extract = (disk: DiskImage): { kernel: BootFile; initrd: BootFile | undefined } => {
    const kernel = extractFile(disk, entry.kernel);
    try {
      return { kernel, initrd: extractInitrds(disk, entry.initrds) };
    } catch (error) {
      closeSync(kernel.fd);
      throw error;
    }
  };
  return withDiskImage(image, extract, format);
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
