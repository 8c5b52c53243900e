/** A machine's kernel taken from its disk: found when the machine is decided on, read when it is put together. */
import { closeSync } from "node:fs";
import type { BootFile } from "../../boot/read-at.ts";
import { DiskImage } from "../filesystem/disk-image.ts";
import { openDisk } from "../open.ts";
import { buildDisk, type ImageFormat } from "../plan.ts";
import { diskDevice } from "../root-device.ts";
import { diskSource } from "../source/disk-source.ts";
import type { BootEntry } from "./boot-entry.ts";
import { extractFile, extractInitrds } from "./extract.ts";
import { findKernel } from "./find-kernel.ts";

export interface ImageKernel {
  readonly entry: BootEntry;
  /** The entry's, for a machine that has the image as a virtio disk. */
  readonly commandLine: string;
  /** Kernel and initrd as files in memory, which the caller closes. */
  extract(): { kernel: BootFile; initrd: BootFile | undefined };
}

export interface ImageKernelOptions {
  /** Title, id or kernel of the entry, instead of the default one. */
  readonly entry?: string | undefined;
  readonly format?: ImageFormat | undefined;
  /** What the guest calls its root, where the entry is not to decide. */
  readonly rootDevice?: string | undefined;
  /** What the guest calls the disk; /dev/vda if left out. */
  readonly device?: string | undefined;
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
 * What the image would boot.
 * @throws {NoKernelError} if it has nothing. @throws {NoBootEntryError} if it does not have the entry.
 */
export function findImageKernel(path: string, options: ImageKernelOptions = {}): ImageKernel {
  const { format, rootDevice, device = diskDevice(0) } = options;
  const { entry } = withDiskImage(path, (image) => findKernel(image, options), format);
  const commandLine =
    rootDevice === undefined ? virtioRoot(entry, device) : `${entry.commandLine} root=${rootDevice}`;
  return {
    entry,
    commandLine,
    extract: () => withDiskImage(path, (image) => extractEntry(image, entry), format),
  };
}

function extractEntry(image: DiskImage, entry: BootEntry): ReturnType<ImageKernel["extract"]> {
  const kernel = extractFile(image, entry.kernel);
  try {
    return { kernel, initrd: extractInitrds(image, entry.initrds) };
  } catch (error) {
    closeSync(kernel.fd);
    throw error;
  }
}

/** A root that is called by the name of another disk, such as /dev/sda2, is called as it is here, such as /dev/vda2. */
function virtioRoot({ commandLine, root }: BootEntry, device: string): string {
  if (root === undefined) return commandLine;
  const name = device.slice("/dev/".length);
  return commandLine.replaceAll(
    new RegExp(String.raw`(^|\s)root=/dev/(?!${name}|disk/|mapper/)\S+`, "g"),
    `$1root=${device}${root.partition ?? ""}`,
  );
}
