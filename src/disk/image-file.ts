/** The file behind an image, or behind one layer of a chain of images. */
import { EINTR, EOPNOTSUPP, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "../ffi/constants.ts";
import type { IoVector } from "../ffi/iovec.ts";
import {
  errno,
  fallocate,
  fdatasync,
  ftruncate,
  memset,
  pread,
  preadv,
  pwrite,
  pwritev,
} from "../ffi/libc.ts";
import { EIO, ImageIoError } from "./io-error.ts";

export interface ImageFileOptions {
  /** For messages. */
  readonly path: string;
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
  /** False for block devices, whose size is what it is. */
  readonly growable: boolean;
  /** Do not wait for stable storage, ever: for images that nobody needs after a power loss. */
  readonly unsafe?: boolean;
}

/**
 * Transfers by address, whole or not at all: what fails throws an {@link ImageIoError}. What lies behind the end of the file
 * reads as zeros.
 */
export class ImageFile {
  readonly path: string;
  readonly fd: number;
  readonly growable: boolean;
  readonly #unsafe: boolean;
  #size: number;
  #syncErrno = 0;

  constructor({ path, fd, size, growable, unsafe = false }: ImageFileOptions) {
    this.path = path;
    this.fd = fd;
    this.growable = growable;
    this.#size = size;
    this.#unsafe = unsafe;
  }

  /** Bytes; writing behind the end makes it larger. */
  get size(): number {
    return this.#size;
  }

  /** Fills all of `vector`, whose content is undefined afterwards. */
  readv(vector: IoVector, offset: number): void {
    let position = offset;
    while (vector.bytes > 0) {
      const done = preadv(this.fd, vector.address, vector.count, position);
      if (done === vector.bytes) return;
      if (done < 0) this.#failed("reading", errno());
      else if (done === 0) {
        zeroFill(vector);
        return;
      } else {
        vector.consume(done);
        position += done;
      }
    }
  }

  writev(vector: IoVector, offset: number): void {
    let position = offset;
    const end = offset + vector.bytes;
    while (vector.bytes > 0) {
      const done = pwritev(this.fd, vector.address, vector.count, position);
      if (done === vector.bytes) break;
      if (done <= 0) this.#failed("writing", done === 0 ? EIO : errno());
      else {
        vector.consume(done);
        position += done;
      }
    }
    if (end > this.#size) this.#size = end;
  }

  read(address: number, length: number, offset: number): void {
    for (let at = 0; at < length;) {
      const done = pread(this.fd, address + at, length - at, offset + at);
      if (done < 0) this.#failed("reading", errno());
      else if (done === 0) {
        memset(address + at, 0, length - at);
        return;
      } else at += done;
    }
  }

  write(address: number, length: number, offset: number): void {
    for (let at = 0; at < length;) {
      const done = pwrite(this.fd, address + at, length - at, offset + at);
      if (done <= 0) this.#failed("writing", done === 0 ? EIO : errno());
      else at += done;
    }
    if (offset + length > this.#size) this.#size = offset + length;
  }

  /**
   * What was written before is on stable storage afterwards. Once this has failed nobody knows what is, and it fails for good:
   * the kernel reports a write that it could not do only once.
   */
  sync(): void {
    if (this.#unsafe) return;
    if (this.#syncErrno === 0 && fdatasync(this.fd) !== 0) this.#syncErrno = errno();
    if (this.#syncErrno !== 0) {
      throw new ImageIoError(this.path, this.#syncErrno, "waiting for stable storage failed");
    }
  }

  /** Makes a file at least `size` bytes long, with zeros at its end; a block device stays as it is. */
  grow(size: number): void {
    if (size > this.#size) this.#resize(size);
  }

  /** Cuts a file; a block device stays as it is. */
  shrink(size: number): void {
    if (size < this.#size) this.#resize(size);
  }

  /** Gives space back to the host, where that is possible: it reads as zeros then, or as before. */
  punchHole(offset: number, length: number): void {
    if (fallocate(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) === 0) return;
    const error = errno();
    if (error !== EOPNOTSUPP) throw new ImageIoError(this.path, error, "giving space back failed");
  }

  #resize(size: number): void {
    if (!this.growable) return;
    if (ftruncate(this.fd, size) !== 0) {
      throw new ImageIoError(this.path, errno(), "changing its size failed");
    }
    this.#size = size;
  }

  #failed(what: string, error: number): void {
    if (error !== EINTR) throw new ImageIoError(this.path, error, `${what} failed`);
  }
}

/** Writes zeros to all that `vector` points to. */
export function zeroFill(vector: IoVector): void {
  for (let index = 0; index < vector.count; index++) memset(vector.base(index), 0, vector.length(index));
}
