/** Opens disk images for a guest: checks, locks, throw-away copies. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { identifyOpenFile } from "../boot/file-kind.ts";
import { BLKGETSIZE64, ENXIO, MFD_CLOEXEC, SEEK_DATA, SEEK_HOLE, SEEK_SET } from "../ffi/constants.ts";
import { errnoName } from "../ffi/errno.ts";
import { check, errno, ftruncate, ioctlBuffer, lseek, memfd_create, sendfile } from "../ffi/libc.ts";
import { DiskError } from "./errors.ts";
import { lockImage } from "./lock.ts";

const SECTOR = 512;
const CONTAINER_FORMATS: ReadonlySet<string> = new Set(["qcow2", "vmdk", "vdi", "vhdx", "vhd"]);

export interface OpenDisk {
  readonly fd: number;
  /** Bytes, a multiple of 512. */
  readonly size: number;
}

/**
 * Opens the image at `path`. The file is locked against other users as long as the fd is open; an ephemeral disk is a copy
 * in memory and holds nothing.
 */
export function openDisk(
  path: string,
  { readOnly, ephemeral }: { readOnly: boolean; ephemeral: boolean },
): OpenDisk {
  const writable = !readOnly && !ephemeral;
  const fd = openImage(path, writable);
  try {
    const size = sizeOf(path, fd);
    lockImage(path, fd, writable);
    if (!ephemeral || readOnly) return { fd, size };
    const copy = copyToMemory(path, fd, size);
    closeSync(fd);
    return { fd: copy, size };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openImage(path: string, writable: boolean): number {
  try {
    // O_NONBLOCK means nothing to a disk, but keeps a named pipe from waiting for its other end.
    return openSync(path, (writable ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    switch (code) {
      case "ENOENT":
      case "ENOTDIR":
        throw new DiskError(path, "no such file", undefined, error);
      case "EISDIR":
        throw new DiskError(path, "is a directory, not an image", undefined, error);
      case "EACCES":
      case "EPERM":
      case "EROFS":
        throw new DiskError(
          path,
          writable ? "this host does not let you write to it" : "this host does not let you read it",
          writable ? "boot it with --read-only, or change its permissions" : "change its permissions",
          error,
        );
      default:
        throw new DiskError(path, code ?? String(error), undefined, error);
    }
  }
}

function sizeOf(path: string, fd: number): number {
  const stat = fstatSync(fd);
  let size = stat.size;
  if (stat.isBlockDevice()) {
    const bytes = new BigUint64Array(1);
    check(ioctlBuffer(fd, BLKGETSIZE64, bytes), "ioctl(BLKGETSIZE64)", path);
    size = Number(bytes[0]);
  } else if (!stat.isFile()) {
    throw new DiskError(
      path,
      stat.isDirectory() ? "is a directory, not an image" : "is neither a file nor a block device",
    );
  }
  if (size === 0) throw new DiskError(path, "is empty", "give it a size first: truncate -s 1G FILE");
  refuseOtherFormats(path, fd, size);
  if (size % SECTOR !== 0) {
    throw new DiskError(
      path,
      `its size of ${size} bytes is not a multiple of the 512-byte sector`,
      "if it is a raw image, pad it: truncate -s %512 FILE",
    );
  }
  return size;
}

/** A container format taken for a raw disk would show the guest its headers, and let it destroy them. */
function refuseOtherFormats(path: string, fd: number, size: number): void {
  const { kind, description } = identifyOpenFile({ fd, path, size });
  if (!CONTAINER_FORMATS.has(kind)) return;
  throw new DiskError(
    path,
    `is ${description}; only raw images can be used so far`,
    `convert it: qemu-img convert -O raw ${path} NEW`,
  );
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
