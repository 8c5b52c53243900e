/** Raw images: byte n of the disk is byte n of the file. */
import {
  EINTR,
  EOPNOTSUPP,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from "../ffi/constants.ts";
import { errno, fallocate, fdatasync, preadv, pwrite, pwritev } from "../ffi/libc.ts";
import type { IoVector } from "../ffi/iovec.ts";
import { allocateNative, type NativeBuffer } from "../ffi/native-buffer.ts";
import type { BlockBackend } from "./backend.ts";

const EIO = 5;
const ZEROES = 64 * 1024;

export class RawDisk implements BlockBackend {
  readonly size: number;
  readonly #fd: number;
  #zeroes: NativeBuffer | undefined;

  /** `fd` is open for what the guest may do; `size` in bytes. */
  constructor(fd: number, size: number) {
    this.#fd = fd;
    this.size = size;
  }

  read(vector: IoVector, offset: number): number {
    return this.#transfer(preadv, vector, offset);
  }

  write(vector: IoVector, offset: number): number {
    return this.#transfer(pwritev, vector, offset);
  }

  flush(): number {
    return fdatasync(this.#fd) === 0 ? 0 : errno();
  }

  discard(offset: number, length: number): number {
    const result = fallocate(this.#fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    if (result === 0) return 0;
    const error = errno();
    // Discard is advice: a file system that cannot punch holes keeps the data.
    return error === EOPNOTSUPP ? 0 : error;
  }

  writeZeroes(offset: number, length: number, unmap: boolean): number {
    const mode = unmap
      ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
      : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(this.#fd, mode, offset, length) === 0) return 0;
    const error = errno();
    return error === EOPNOTSUPP ? this.#writeZeroBytes(offset, length) : error;
  }

  #transfer(call: typeof preadv, vector: IoVector, offset: number): number {
    let position = offset;
    while (vector.bytes > 0) {
      const done = call(this.#fd, vector.address, vector.count, position);
      if (done <= 0) {
        const error = done === 0 ? EIO : errno(); // 0: the file has shrunk under us
        if (error === EINTR) continue;
        return error;
      }
      if (done === vector.bytes) return 0;
      vector.consume(done);
      position += done;
    }
    return 0;
  }

  #writeZeroBytes(offset: number, length: number): number {
    this.#zeroes ??= allocateNative(ZEROES);
    for (let done = 0; done < length;) {
      const wrote = pwrite(this.#fd, this.#zeroes.address, Math.min(ZEROES, length - done), offset + done);
      if (wrote < 0) return errno();
      done += wrote;
    }
    return 0;
  }
}
