/** Opening and reading kernel and initrd files. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { BootFileError } from "./errors.ts";

/** A file open for reading, with the path it is called by in errors. */
export interface BootFile {
  readonly fd: number;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/**
 * Opens a kernel or initrd. The caller closes `fd`.
 *
 * @throws {BootFileError} if it is missing, not readable, or no regular file.
 */
export function openBootFile(path: string): BootFile {
  let fd: number;
  try {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw unreadable(path, cause);
  }
  try {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) throw new BootFileError(`${path}: is a directory`, { hint: "name a file in it" });
    if (!stat.isFile()) {
      throw new BootFileError(`${path}: is not a regular file`, {
        hint: "copy its content into a file first",
      });
    }
    return { fd, path, size: stat.size };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Up to `length` bytes of the file at `offset`; fewer where it ends. */
export function readAt(file: BootFile, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    let got: number;
    try {
      got = readSync(file.fd, bytes, done, length - done, offset + done);
    } catch (cause) {
      throw unreadable(file.path, cause);
    }
    if (got === 0) break;
    done += got;
  }
  return bytes.subarray(0, done);
}

function unreadable(path: string, cause: unknown): BootFileError {
  const { code, message } = cause as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new BootFileError(`${path}: no such file`, { hint: "check the path", cause });
    case "EACCES":
    case "EPERM":
      return new BootFileError(`${path}: permission denied`, {
        hint: `make it readable: chmod a+r ${path}`,
        cause,
      });
    case "EISDIR":
      return new BootFileError(`${path}: is a directory`, { hint: "name a file in it", cause });
    default:
      return new BootFileError(`${path}: cannot be read: ${message}`, { cause });
  }
}
