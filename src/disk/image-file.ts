/** The file behind an image, or behind one layer of a chain of images. */
import { EINTR, EOPNOTSUPP, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { errno, fallocate, fdatasync, ftruncate, memset, preadv, pwritev } from "../ffi/libc.ts";
import { BounceIo } from "./direct-io.ts";
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
  /** Where `fd` is used past the page cache: bytes that transfers must be aligned to. */
  readonly directBlock?: number;
}

/**
 * Transfers by address, whole or not at all: what fails throws an {@link ImageIoError}. What lies behind the end of the file
 * reads as zeros.
 */
export class ImageFile {
  readonly path: string;
  readonly fd: number;
  readonly growable: boolean;
  /** Bytes that transfers past the page cache must be aligned to; 0 where they go through it. */
  readonly directBlock: number;
  readonly #unsafe: boolean;
  readonly #bounce: BounceIo | undefined;
  readonly #single = new IoVector(1);
  #size: number;
  #syncErrno = 0;

  constructor({ path, fd, size, growable, unsafe = false, directBlock = 0 }: ImageFileOptions) {
    this.path = path;
    this.fd = fd;
    this.growable = growable;
    this.directBlock = directBlock;
    this.#size = size;
    this.#unsafe = unsafe;
    this.#bounce = directBlock === 0 ? undefined : new BounceIo(fd, directBlock);
  }

  /** Bytes; writing behind the end makes it larger. */
  get size(): number {
    return this.#size;
  }

  /** Whether the kernel takes this transfer as it is, without a buffer in between. */
  aligned(vector: IoVector, offset: number): boolean {
    const block = this.directBlock;
    return block === 0 || (offset % block === 0 && vector.alignedTo(block));
  }

  /** Fills all of `vector`, whose content is undefined afterwards. */
  readv(vector: IoVector, offset: number): void {
    if (!this.#fill(vector, offset)) zeroFill(vector);
  }

  /** The same for a file that must not end before: EIO if it does. */
  readvWithin(vector: IoVector, offset: number): void {
    if (!this.#fill(vector, offset)) throw new ImageIoError(this.path, EIO, "reading behind its end failed");
  }

  writev(vector: IoVector, offset: number): void {
    const end = offset + vector.bytes;
    this.#drain(vector, offset);
    this.wroteUpTo(end);
  }

  read(address: number, length: number, offset: number): void {
    this.readv(this.#one(address, length), offset);
  }

  write(address: number, length: number, offset: number): void {
    this.writev(this.#one(address, length), offset);
  }

  /** Somebody else has written to the file, up to `end`. */
  wroteUpTo(end: number): void {
    if (end > this.#size) this.#size = end;
  }

  /**
   * What was written before is on stable storage afterwards. Once this has failed nobody knows what is, and it fails for good:
   * the kernel reports a write that it could not do only once.
   */
  sync(): void {
    if (this.needsSync) this.synced(fdatasync(this.fd) === 0 ? 0 : errno());
  }

  /** Whether {@link sync} has anything to do. Throws if it has failed before. */
  get needsSync(): boolean {
    if (this.#syncErrno !== 0) this.synced(this.#syncErrno);
    return !this.#unsafe;
  }

  /** The fdatasync(2) that somebody else has called for {@link sync} ended with this errno; throws unless it is 0. */
  synced(error: number): void {
    if (error === 0) return;
    this.#syncErrno = error;
    throw new ImageIoError(this.path, error, "waiting for stable storage failed");
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

  /** Fills `vector` from the file. False where the file ends before; what is left of `vector` is what lies behind. */
  #fill(vector: IoVector, offset: number): boolean {
    if (!this.aligned(vector, offset)) {
      const done = this.#bounce!.readv(vector, offset);
      if (done < 0) this.#failed("reading", -done);
      return vector.bytes === 0;
    }
    for (let position = offset; vector.bytes > 0;) {
      const done = preadv(this.fd, vector.address, vector.count, position);
      if (done === vector.bytes) return true;
      if (done < 0) this.#failed("reading", errno());
      else if (done === 0) return false;
      else {
        vector.consume(done);
        position += done;
        // Past the page cache one cannot go on from the middle of a block, where the file has ended.
        if (this.directBlock !== 0 && position % this.directBlock !== 0) return vector.bytes === 0;
      }
    }
    return true;
  }

  #drain(vector: IoVector, offset: number): void {
    if (!this.aligned(vector, offset)) {
      const error = this.#bounce!.writev(vector, offset);
      if (error < 0) this.#failed("writing", -error);
      return;
    }
    for (let position = offset; vector.bytes > 0;) {
      const done = pwritev(this.fd, vector.address, vector.count, position);
      if (done === vector.bytes) return;
      if (done <= 0) this.#failed("writing", done === 0 ? EIO : errno());
      else {
        vector.consume(done);
        position += done;
      }
    }
  }

  #one(address: number, length: number): IoVector {
    this.#single.clear();
    this.#single.add(address, length);
    return this.#single;
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
