/** A disk as plain data, which survives postMessage, and the back end that a thread builds over it. */
import type { BlockBackend } from "./backend.ts";
import { ImageFile } from "./image-file.ts";
import type { ImageIoError } from "./io-error.ts";
import { type ImageLayer, RawLayer } from "./layer.ts";
import { DEFAULT_L2_CACHE_BYTES, openQcow2Layer, Qcow2Disk } from "./qcow2/disk.ts";
import { readHeader } from "./qcow2/read-header.ts";
import { RawDisk } from "./raw.ts";

/** The formats of disk images that machines can use. */
export type ImageFormat = "raw" | "qcow2";

/** One file of a chain of images, open in this process. */
export interface LayerPlan {
  /** For messages. */
  readonly path: string;
  readonly fd: number;
  readonly format: ImageFormat;
  /** Bytes of the file, not of what it shows. */
  readonly fileSize: number;
  /** Whether it is a regular file. */
  readonly growable: boolean;
  /** Where it is used past the page cache: what transfers must be aligned to, in bytes; otherwise 0. */
  readonly directBlock: number;
}

export interface DiskPlan {
  /** The guest's disk first, then what is below it. */
  readonly layers: readonly LayerPlan[];
  /** What the guest sees, in bytes; a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
  /** Nobody has said that it is raw: the guest must not make another format of it. */
  readonly guardHead: boolean;
  /** Nothing of it is needed after a power loss: flushing does not wait for stable storage. */
  readonly unsafe: boolean;
}

export interface BuildDiskOptions {
  /** Told of damage that is found while the disk is in use. */
  readonly report?: (error: ImageIoError) => void;
  /** Bytes of L2 tables in memory at most, for the disk itself; the layers below share as much. */
  readonly l2CacheBytes?: number;
}

/** Builds what serves the guest's requests. Throws a DiskError or an ImageIoError. */
export function buildDisk(plan: DiskPlan, options: BuildDiskOptions = {}): BlockBackend {
  const { l2CacheBytes = DEFAULT_L2_CACHE_BYTES, report } = options;
  const [top, ...below] = plan.layers;
  if (top === undefined) throw new RangeError("a disk without layers");
  const file = openFile(top, plan.unsafe);
  if (top.format === "raw") return new RawDisk(file, { size: plan.size, guardHead: plan.guardHead });
  return new Qcow2Disk({
    file,
    header: readHeader(file),
    backing: buildLayers(below, Math.floor(l2CacheBytes / Math.max(1, below.length))),
    readOnly: plan.readOnly,
    l2CacheBytes,
    ...(report === undefined ? {} : { report }),
  });
}

/** The layers below a disk as one, or undefined where there are none. Throws a DiskError or an ImageIoError. */
export function buildLayers(plans: readonly LayerPlan[], l2CacheBytes: number): ImageLayer | undefined {
  return plans.reduceRight<ImageLayer | undefined>((backing, plan) => {
    const file = openFile(plan, false);
    if (plan.format === "raw") return new RawLayer(file);
    return openQcow2Layer({ file, header: readHeader(file), backing, l2CacheBytes });
  }, undefined);
}

function openFile({ path, fd, fileSize, growable, directBlock }: LayerPlan, unsafe: boolean): ImageFile {
  return new ImageFile({ path, fd, size: fileSize, growable, unsafe, directBlock });
}
