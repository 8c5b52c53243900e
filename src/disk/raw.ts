/** Raw images: byte n of the disk is byte n of the file. */
import {
  EINTR,
  EOPNOTSUPP,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from "../ffi/constants.ts";
import { errno, fallocate, fdatasync, memcpy, preadv, pwrite, pwritev } from "../ffi/libc.ts";
import { IoVector } from "../ffi/iovec.ts";
import { allocateNative, type NativeBuffer } from "../ffi/native-buffer.ts";
import type { BlockBackend } from "./backend.ts";

const EPERM = 1;
const EIO = 5;
const ZEROES = 64 * 1024;
const SECTOR = 512;
/** What {@link RawDiskOptions.guardHead} is about: "QFI\xfb", big-endian. */
const QCOW2_MAGIC = 0x5146_49fb;

export interface RawDiskOptions {
  /**
   * Refuse to make a qcow2 image of it. One that is taken for raw by its looks would be a qcow2 image the next time, with any
   * file of the host that the guest likes to name below it.
   */
  readonly guardHead?: boolean;
  /** Do not wait for stable storage. */
  readonly unsafe?: boolean;
}

export class RawDisk implements BlockBackend {
  readonly size: number;
  readonly #fd: number;
  readonly #guardHead: boolean;
  readonly #unsafe: boolean;
  #zeroes: NativeBuffer | undefined;

  /** `fd` is open for what the guest may do; `size` in bytes. */
  constructor(fd: number, size: number, { guardHead = false, unsafe = false }: RawDiskOptions = {}) {
    this.#fd = fd;
    this.size = size;
    this.#guardHead = guardHead;
    this.#unsafe = unsafe;
  }

  read(vector: IoVector, offset: number): number {
    return this.#transfer(preadv, vector, offset);
  }

  write(vector: IoVector, offset: number): number {
    if (offset === 0 && this.#guardHead) return this.#writeGuarded(vector);
    return this.#transfer(pwritev, vector, offset);
  }

  flush(): number {
    if (this.#unsafe) return 0;
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

  close(): number {
    return 0;
  }

  /** The first sector is looked at in a copy: the guest could change it between the look and the write. */
  #writeGuarded(vector: IoVector): number {
    if (vector.bytes < SECTOR) return this.#transfer(pwritev, vector, 0);
    const sector = allocateNative(SECTOR);
    const part = new IoVector();
    part.take(vector, SECTOR);
    for (let index = 0, at = 0; index < part.count; index++) {
      memcpy(sector.address + at, part.base(index), part.length(index));
      at += part.length(index);
    }
    if (new DataView(sector.buffer).getUint32(0) === QCOW2_MAGIC) return EPERM;
    part.clear();
    part.add(sector.address, SECTOR);
    const error = this.#transfer(pwritev, part, 0);
    return error === 0 ? this.#transfer(pwritev, vector, SECTOR) : error;
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
