/** What can be said about an image without qemu-img: what `tsvm image info` shows. */
import { fstatSync } from "node:fs";
import { checkOneOf, checkPath } from "../arguments.ts";
import { closeLayers, openChain, type OpenLayer } from "./chain.ts";
import { ImageFile } from "./image-file.ts";
import type { ImageFormat } from "./plan.ts";
import { type Qcow2Snapshot, readSnapshots } from "./qcow2/snapshots.ts";

/** An image, and through {@link ImageInfo.backing} what it is based on. */
export interface ImageInfo {
  readonly path: string;
  readonly format: ImageFormat;
  /** What a guest sees, in bytes. */
  readonly virtualSize: number;
  /** Length of the file, in bytes. */
  readonly fileSize: number;
  /** What it takes on the host, in bytes; undefined for a block device. */
  readonly diskUsage: number | undefined;
  readonly qcow2: Qcow2Info | undefined;
  /** What shows through where nothing is allocated. */
  readonly backing: ImageInfo | undefined;
  /** Why there is no {@link backing} although the image has a backing file: it is missing, or cannot be used. */
  readonly backingProblem: string | undefined;
}

/** What the header of a qcow2 image says, and its snapshots. */
export interface Qcow2Info {
  readonly version: 2 | 3;
  /** Bytes. */
  readonly clusterSize: number;
  readonly refcountBits: number;
  readonly compression: "zlib" | "zstd";
  readonly lazyRefcounts: boolean;
  /** It was not closed properly: its reference counts are repaired when it is next written to. */
  readonly dirty: boolean;
  /** It must not be written to before qemu-img check -r has repaired it. */
  readonly corrupt: boolean;
  /** How many persistent bitmaps it has, and whether they say what was written. tsvm does not keep them up to date. */
  readonly bitmaps: { readonly count: number; readonly consistent: boolean };
  /** As the image has them. */
  readonly backingFile: string | undefined;
  readonly backingFormat: ImageFormat | undefined;
  readonly snapshots: readonly Omit<Qcow2Snapshot, "l1Offset" | "l1Entries">[];
}

/** What {@link imageInfo} found out, and what of the chain of images deserves a warning. */
export interface ImageInfoResult {
  readonly image: ImageInfo;
  readonly warnings: readonly string[];
}

/**
 * Looks at an image and all that is below it, also while somebody else uses them.
 * Throws a DiskError if it is missing, damaged or not supported, an ImageIoError, and an ArgumentError; where something below it
 * is wrong, that is the `backingProblem` of the lowest one that can be looked at.
 */
export function imageInfo(path: string, format?: ImageFormat): ImageInfoResult {
  checkPath("imageInfo: path", path);
  if (format !== undefined) checkOneOf("imageInfo: format", format, ["raw", "qcow2"]);
  const { layers, warnings, broken } = openChain(path, {
    writable: false,
    format,
    lock: false,
    partial: true,
  });
  try {
    const image = layers.reduceRight<ImageInfo | undefined>(
      (backing, layer) => describe(layer, backing, backing === undefined ? broken?.message : undefined),
      undefined,
    )!;
    return { image, warnings };
  } finally {
    closeLayers(layers);
  }
}

function describe(
  layer: OpenLayer,
  backing: ImageInfo | undefined,
  backingProblem: string | undefined,
): ImageInfo {
  const { path, fd, format, fileSize, growable, header } = layer;
  return {
    path,
    format,
    virtualSize: header?.size ?? fileSize,
    fileSize,
    diskUsage: growable ? fstatSync(fd).blocks * 512 : undefined,
    qcow2: header === undefined ? undefined : describeQcow2(layer, header),
    backing,
    backingProblem,
  };
}

function describeQcow2(
  { path, fd, fileSize, growable }: OpenLayer,
  header: NonNullable<OpenLayer["header"]>,
): Qcow2Info {
  const file = new ImageFile({ path, fd, size: fileSize, growable });
  return {
    version: header.version,
    clusterSize: header.clusterSize,
    refcountBits: 2 ** header.refcountOrder,
    compression: header.compression,
    lazyRefcounts: header.lazyRefcounts,
    dirty: header.dirty,
    corrupt: header.corrupt,
    bitmaps: { count: header.bitmapCount, consistent: header.bitmapsConsistent },
    backingFile: header.backingFile,
    backingFormat: header.backingFormat as ImageFormat | undefined,
    snapshots: readSnapshots(file, header).snapshots.map(
      ({ id, name, seconds, guestNanoseconds, vmStateBytes, diskSize }) => ({
        id,
        name,
        seconds,
        guestNanoseconds,
        vmStateBytes,
        diskSize,
      }),
    ),
  };
}
