/** Opening the file or block device behind a path, and telling what format it is in. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { identifyOpenFile } from "../boot/file-kind.ts";
import { BLKGETSIZE64 } from "../ffi/constants.ts";
import { check, ioctlBuffer } from "../ffi/libc.ts";
import { DiskError } from "./errors.ts";
import type { ImageFormat } from "./plan.ts";

const FOREIGN_FORMATS: ReadonlySet<string> = new Set(["vmdk", "vdi", "vhdx", "vhd"]);

export interface ImageFileFacts {
  readonly path: string;
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
  /** A file, not a block device. */
  readonly regular: boolean;
  /** Equal for two paths to the same file. */
  readonly identity: string;
  /** What it takes on the host, in bytes. */
  readonly diskUsage: number;
}

/** Opens a file or block device. Throws a DiskError that says why it is neither, or cannot be opened. */
export function openImageFile(path: string, writable: boolean): ImageFileFacts {
  const fd = open(path, writable);
  try {
    const stat = fstatSync(fd);
    const regular = stat.isFile();
    if (!regular && !stat.isBlockDevice()) {
      throw new DiskError(
        path,
        stat.isDirectory() ? "is a directory, not an image" : "is neither a file nor a block device",
      );
    }
    const size = regular ? stat.size : blockDeviceSize(path, fd);
    if (size === 0) throw new DiskError(path, "is empty", "give it a size first: truncate -s 1G FILE");
    const identity = regular ? `${stat.dev}:${stat.ino}` : `block:${stat.rdev}`;
    return { path, fd, size, regular, identity, diskUsage: stat.blocks * 512 };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * What the first bytes say: qcow2, or raw. Throws a DiskError for containers that tsvm does not know: taken for a raw disk,
 * one would show the guest its headers, and let it destroy them.
 */
export function probeFormat({ fd, path, size }: ImageFileFacts): ImageFormat {
  const { kind, description } = identifyOpenFile({ fd, path, size });
  if (kind === "qcow2") return "qcow2";
  if (!FOREIGN_FORMATS.has(kind)) return "raw";
  throw new DiskError(
    path,
    `is ${description}; tsvm knows raw and qcow2`,
    `convert it: tsvm image convert ${path} NEW`,
  );
}

/** What an image looks like that is in a format of its own, qcow2 among them; undefined for what can only be raw. */
export function containerDescription({ fd, path, size }: ImageFileFacts): string | undefined {
  const { kind, description } = identifyOpenFile({ fd, path, size });
  return kind === "qcow2" || FOREIGN_FORMATS.has(kind) ? description : undefined;
}

function open(path: string, writable: boolean): number {
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

function blockDeviceSize(path: string, fd: number): number {
  const bytes = new BigUint64Array(1);
  check(ioctlBuffer(fd, BLKGETSIZE64, bytes), "ioctl(BLKGETSIZE64)", path);
  return Number(bytes[0]);
}
