/** New images, empty or with the content of others. */
import { closeSync, fstatSync } from "node:fs";
import { openImageFile } from "../image-path.ts";
import { imageInfo, type ImageInfo } from "../info.ts";
import { makeFile } from "../new-file.ts";
import type { ImageFormat } from "../plan.ts";
import { fileArgument } from "./file-name.ts";
import { watchAllocation } from "./progress.ts";
import { type Control, runQemuImg } from "./run.ts";

/** How much of an image takes its space on the host at once: nothing, tables, all reserved, or all written. */
export type Preallocation = "off" | "metadata" | "falloc" | "full";

/** What the new file is. */
export interface NewImage {
  readonly path: string;
  readonly format: ImageFormat;
  /** Of a qcow2 image, in bytes: a power of two from 512 to 2 MiB, 64 KiB by default. */
  readonly clusterSize?: number | undefined;
  /** `metadata` is for qcow2 images. */
  readonly preallocation?: Preallocation | undefined;
  /** Whether it may replace a file. */
  readonly replace: boolean;
}

/** An empty image of `size` bytes. Throws a DiskError, and a QemuImgMissingError. */
export async function createImage(image: NewImage, size: number, control: Control): Promise<void> {
  const { path, format, replace } = image;
  const { signal, onProgress } = control;
  await makeFile(path, { replace, signal }, async (temporary) => {
    const args = ["create", "-q", "-f", format, ...formatOptions(image), fileArgument(temporary), `${size}`];
    const allocates = image.preallocation === "full" || image.preallocation === "falloc";
    const stop =
      allocates && onProgress !== undefined ? await watchAllocation(temporary, size, onProgress) : undefined;
    try {
      await runQemuImg({ path, temporary }, args, { signal });
    } finally {
      stop?.();
    }
  });
}

export interface Conversion {
  readonly source: string;
  /** As qemu-img calls it; by default the first bytes tell. */
  readonly sourceFormat?: string | undefined;
  /** Of a qcow2 image; by default its clusters are not compressed. */
  readonly compression?: "zlib" | "zstd" | undefined;
}

/** An image with the content of another, of any format that qemu-img knows, and all that is below it. Throws as {@link createImage}. */
export async function convertImage(
  image: NewImage,
  { source, sourceFormat, compression }: Conversion,
  { signal, onProgress }: Control,
): Promise<void> {
  const { path, format, replace } = image;
  // Who may not read the source may not read its copy.
  const options = { replace, signal, mode: permissionsOf(source), sources: chainOf(source) };
  await makeFile(path, options, async (temporary) => {
    const args = [
      "convert",
      ...(onProgress === undefined ? [] : ["-p"]),
      ...(sourceFormat === undefined ? [] : ["-f", sourceFormat]),
      ...["-O", format],
      ...(compression === undefined ? [] : ["-c"]),
      ...formatOptions(image, compression),
      fileArgument(source),
      fileArgument(temporary),
    ];
    await runQemuImg({ path, temporary, source }, args, { signal, onProgress });
  });
}

/** Mode bits of the file. Throws a DiskError for what cannot be an image. */
function permissionsOf(path: string): number {
  const { fd } = openImageFile(path, false);
  try {
    return fstatSync(fd).mode & 0o666;
  } finally {
    closeSync(fd);
  }
}

/** The image, and what tsvm can find out about the files below it; qemu-img's locks keep the rest from being replaced. */
function chainOf(path: string): string[] {
  try {
    const paths: string[] = [];
    for (let next: ImageInfo | undefined = imageInfo(path).image; next !== undefined; next = next.backing) {
      paths.push(next.path);
    }
    return paths;
  } catch {
    return [path];
  }
}

/** `-o name=value,...`. None of the values has a comma in it. */
export function formatOptions(
  { clusterSize, preallocation }: Pick<NewImage, "clusterSize" | "preallocation">,
  compression?: "zlib" | "zstd",
): string[] {
  const options = [
    ...(clusterSize === undefined ? [] : [`cluster_size=${clusterSize}`]),
    ...(preallocation === undefined ? [] : [`preallocation=${preallocation}`]),
    ...(compression === undefined ? [] : [`compression_type=${compression}`]),
  ];
  return options.length === 0 ? [] : ["-o", options.join(",")];
}
