/** Images get larger or smaller. */
import { closeSync, fstatSync, ftruncateSync, openSync, statSync } from "node:fs";
import { formatBytesExactly } from "../../boot/quantities.ts";
import { DiskError } from "../errors.ts";
import { imageInfo, type ImageInfo } from "../info.ts";
import { lockImage } from "../lock.ts";
import type { ImageFormat } from "../plan.ts";
import type { Preallocation } from "./create.ts";
import { fileArgument } from "./file-name.ts";
import { watchAllocation } from "./progress.ts";
import { askQemuImg, type Control, runQemuImg } from "./run.ts";

export interface Resize {
  readonly path: string;
  /** Otherwise the first bytes tell. */
  readonly format?: ImageFormat | undefined;
  /** The new size in bytes, given the old one. */
  readonly size: (old: number) => number;
  /** Whether it may become smaller, which destroys what lies behind its new end. */
  readonly shrink: boolean;
  /** Of what is added. */
  readonly preallocation?: Preallocation | undefined;
}

/** Throws a DiskError, and a QemuImgMissingError. Aborted, it leaves the image with its old size. */
export async function resizeImage(resize: Resize, { signal, onProgress }: Control): Promise<void> {
  const { path, shrink, preallocation = "off" } = resize;
  const { image } = imageInfo(path, resize.format);
  const size = resize.size(image.virtualSize);
  check(resize, image, size);
  if (size === image.virtualSize) return;
  const args = [
    ...["resize", "-q", "-f", image.format],
    ...(shrink ? ["--shrink"] : []),
    ...(preallocation === "off" ? [] : [`--preallocation=${preallocation}`]),
    ...[fileArgument(path), `${size}`],
  ];
  const stop =
    onProgress !== undefined && (preallocation === "full" || preallocation === "falloc")
      ? await watchAllocation(path, size - image.virtualSize, onProgress)
      : undefined;
  try {
    await runQemuImg({ path }, args, { signal });
  } catch (error) {
    if (signal?.aborted === true && size > image.virtualSize) await undo(image);
    throw error;
  } finally {
    stop?.();
  }
}

function check({ path, shrink, preallocation = "off" }: Resize, image: ImageInfo, size: number): void {
  const old = image.virtualSize;
  if (image.diskUsage === undefined) {
    throw new DiskError(path, "is a block device, whose size is what it is");
  }
  if (size <= 0) throw new DiskError(path, `has ${formatBytesExactly(old)}, and nothing would be left`);
  if (size < old && !shrink) {
    throw new DiskError(
      path,
      `${formatBytesExactly(size)} are less than the ${formatBytesExactly(old)} it has, and the rest would be lost`,
      "make the file system in it smaller first, then say --shrink",
    );
  }
  if (size < old && preallocation !== "off") {
    throw new DiskError(path, "there is nothing to allocate in an image that gets smaller");
  }
}

/** Takes back what a killed qemu-img may have begun: space behind the end of the disk, and clusters that nothing refers to. */
async function undo({ path, format, fileSize }: ImageInfo): Promise<void> {
  if (format === "raw") {
    cutBack(path, fileSize, statSync(path).mtimeMs);
    return;
  }
  const file = fileArgument(path);
  const check = ["check", "--output=json", "-f", "qcow2", "-r", "leaks", file];
  const { status, stdout } = await askQemuImg({ path }, check, {});
  const { mtimeMs } = statSync(path);
  const end = /"image-end-offset": (\d+)/.exec(stdout)?.[1];
  if (status === 0 && end !== undefined) cutBack(path, Math.max(fileSize, Number(end)), mtimeMs);
}

/** Not if somebody else has begun to use the image meanwhile. */
function cutBack(path: string, size: number, mtimeMs: number): void {
  const fd = openSync(path, "r+");
  try {
    lockImage(path, fd, true);
    const now = fstatSync(fd);
    if (now.mtimeMs === mtimeMs && now.size > size) ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
}
