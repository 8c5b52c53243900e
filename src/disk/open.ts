/** Opens disk images for a guest: checks, locks, overlays and throw-away copies. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { ENXIO, MFD_CLOEXEC, SEEK_DATA, SEEK_HOLE, SEEK_SET } from "../ffi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { check, errno, ftruncate, lseek, memfd_create, sendfile } from "../ffi/libc.ts";
import { type Chain, closeLayers, openChain } from "./chain.ts";
import { DiskError } from "./errors.ts";
import { ImageFile } from "./image-file.ts";
import { buildDisk, type DiskPlan, type ImageFormat, type LayerPlan } from "./plan.ts";
import { enableDirectIo } from "./direct-io.ts";
import { createQcow2 } from "./qcow2/create.ts";
import type { Qcow2Header } from "./qcow2/header.ts";
import { repairRefcounts } from "./qcow2/repair.ts";

const SECTOR = 512;
/** O_TMPFILE of Linux on x86-64, which Node does not name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

export type CacheMode = "writeback" | "none" | "unsafe";

export interface OpenDiskOptions {
  readonly readOnly: boolean;
  /**
   * What is written is gone afterwards. A raw image is copied to memory, and others may use it meanwhile; a qcow2 image gets
   * an overlay, as with `overlay`.
   */
  readonly ephemeral: boolean;
  /** What is written goes to a temporary file that has no name, and is gone afterwards. Nobody may write to the image meanwhile. */
  readonly overlay?: boolean;
  /** How the host's page cache is used; see `DiskDescription`. */
  readonly cache?: CacheMode | undefined;
  /** Otherwise the image's first bytes tell, and the guest may not change a raw image's into those of another format. */
  readonly format?: ImageFormat | undefined;
}

export interface OpenDisk {
  /** What `buildDisk` needs, in whichever thread. */
  readonly plan: DiskPlan;
  /** All that is open for it: closed, and with that unlocked, by whoever opened the disk. */
  readonly fds: readonly number[];
  /** What the user should know, without being an error. */
  readonly warnings: readonly string[];
  /** Of a raw image; -1 for any other, which needs `plan`. */
  readonly fd: number;
  /** Bytes, a multiple of 512. */
  readonly size: number;
}

/**
 * Opens the image at `path`, with what is below it. The files are locked against other users as long as they are open.
 * A qcow2 image that was not closed properly is repaired first, if it is to be written to.
 * Throws a DiskError or an ImageIoError.
 */
export function openDisk(path: string, options: OpenDiskOptions): OpenDisk {
  const { readOnly, ephemeral, overlay = false, format, cache = "writeback" } = options;
  const writable = !readOnly && !ephemeral && !overlay;
  const chain = openChain(path, { writable, format });
  const [top] = chain.layers;
  // What is open at any moment.
  let layers: readonly LayerPlan[] = chain.layers.map(plain);
  try {
    const size = guestSize(chain);
    if (cache === "none") layers = layers.map((layer, index) => direct(layer, chain.layers[index]!.header));
    const temporary = !readOnly && !writable;
    if (temporary) {
      if (overlay || top!.format === "qcow2") layers = [createOverlay(size), ...layers];
      else {
        const copy = copyToMemory(path, top!.fd, size);
        closeSync(top!.fd);
        layers = [{ ...layers[0]!, fd: copy, directBlock: 0 }];
      }
    } else if (writable && top!.header?.dirty === true && !top!.header.corrupt) {
      repairRefcounts(new ImageFile({ ...layers[0]!, size: top!.fileSize }), top!.header);
      layers = [{ ...layers[0]!, fileSize: fstatSync(top!.fd).size || top!.fileSize }, ...layers.slice(1)];
    }
    const guardHead = writable && top!.format === "raw" && top!.probed;
    const plan = { layers, size, readOnly, guardHead, unsafe: temporary || cache === "unsafe" };
    buildDisk(plan); // what is wrong with it is said now, not by a thread of the machine
    const fd = layers[0]!.format === "raw" ? layers[0]!.fd : -1;
    return { plan, fds: layers.map((layer) => layer.fd), warnings: chain.warnings, fd, size };
  } catch (error) {
    closeLayers(layers);
    throw error;
  }
}

function plain({ path, fd, format, fileSize, growable, directBlock }: LayerPlan): LayerPlan {
  return { path, fd, format, fileSize, growable, directBlock };
}

/** The layer with its file past the page cache. Throws a DiskError where that cannot be. */
function direct(layer: LayerPlan, header: Qcow2Header | undefined): LayerPlan {
  const { path, fd, format, fileSize } = layer;
  const directBlock = enableDirectIo(fd);
  const refuse = (what: string, remedy = "take cache=writeback for it"): never => {
    throw new DiskError(path, `${what} cache=none needs${directBlock === 0 ? "" : " here"}`, remedy);
  };
  if (directBlock === 0) refuse("its file system has no O_DIRECT, which");
  const block = `the ${directBlock}-byte block that`;
  if (format === "raw" && fileSize % directBlock !== 0) {
    const remedy = `take cache=writeback for it, or pad it: truncate -s %${directBlock} FILE`;
    refuse(`its size of ${fileSize} bytes is not a multiple of ${block}`, remedy);
  }
  if (header !== undefined && header.clusterSize < directBlock) {
    refuse(`its clusters of ${header.clusterSize} bytes are smaller than ${block}`);
  }
  return { ...layer, directBlock };
}

function guestSize({ layers }: Chain): number {
  const { path, header, fileSize, looksLike } = layers[0]!;
  const size = header?.size ?? fileSize;
  if (size === 0) throw new DiskError(path, "has no size", `give it one: tsvm image resize ${path} 1G`);
  if (size % SECTOR === 0) return size;
  throw new DiskError(
    path,
    `its size of ${size} bytes is not a multiple of the 512-byte sector`,
    looksLike !== undefined
      ? `it looks like ${looksLike}, not like a raw image: leave the format out`
      : header === undefined
        ? `if it is a raw image, pad it: truncate -s %512 ${path}`
        : `make it larger: tsvm image resize ${path} ${Math.ceil(size / SECTOR) * SECTOR}B`,
  );
}

/** An empty image in a file that has no name: it goes when it is closed, however the process ends. */
function createOverlay(size: number): LayerPlan {
  const fd = openTemporary();
  try {
    const file = new ImageFile({ path: "temporary overlay", fd, size: 0, growable: true, unsafe: true });
    createQcow2(file, size);
    return { path: file.path, fd, format: "qcow2", fileSize: file.size, growable: true, directBlock: 0 };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openTemporary(): number {
  try {
    return openSync(tmpdir(), O_TMPFILE | constants.O_RDWR, 0o600);
  } catch {
    // A file system that cannot do that.
    return check(memfd_create("tsvm-overlay", MFD_CLOEXEC), "memfd_create");
  }
}

/** A private copy without a name, as sparse as the file. */
function copyToMemory(path: string, fd: number, size: number): number {
  const copy = check(memfd_create("tsvm-disk", MFD_CLOEXEC), "memfd_create");
  try {
    check(ftruncate(copy, size), "ftruncate", "copy of the disk");
    let at = nextData(fd, 0, size);
    while (at < size) {
      const end = nextHole(fd, at, size);
      copyRange(path, fd, copy, at, end);
      at = nextData(fd, end, size);
    }
    return copy;
  } catch (error) {
    closeSync(copy);
    throw error;
  }
}

/** Where data begins at or after `from`. Block devices do not know their holes (EINVAL): they are data all over. */
function nextData(fd: number, from: number, size: number): number {
  const start = lseek(fd, from, SEEK_DATA);
  if (start >= 0) return start;
  return errno() === ENXIO ? size : from;
}

function nextHole(fd: number, from: number, size: number): number {
  const end = lseek(fd, from, SEEK_HOLE);
  return end > from ? Math.min(end, size) : size;
}

function copyRange(path: string, from: number, to: number, start: number, end: number): void {
  check(lseek(from, start, SEEK_SET), "lseek", path);
  check(lseek(to, start, SEEK_SET), "lseek", "copy of the disk");
  for (let at = start; at < end;) {
    const copied = sendfile(to, from, 0, end - at);
    if (copied <= 0) {
      throw new DiskError(path, `copying it failed: ${copied === 0 ? "it shrank" : errnoName(errno())}`);
    }
    at += copied;
  }
}
