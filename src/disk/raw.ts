/** Raw images: byte n of the disk is byte n of the file. */
import {
  EOPNOTSUPP,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from "../ffi/constants.ts";
import { errno, fallocate, memcpy } from "../ffi/libc.ts";
import { IoVector } from "../ffi/iovec.ts";
import { allocateNative, type NativeBuffer } from "../ffi/native-buffer.ts";
import type { BlockBackend } from "./backend.ts";
import type { ExtentList } from "./extents.ts";
import type { ImageFile } from "./image-file.ts";
import { EPERM, errnoOf } from "./io-error.ts";

const ZEROES = 64 * 1024;
const SECTOR = 512;
/** What {@link RawDiskOptions.guardHead} is about: "QFI\xfb", big-endian. */
const QCOW2_MAGIC = 0x5146_49fb;

export interface RawDiskOptions {
  /** Bytes that the guest sees. */
  readonly size: number;
  /**
   * Refuse to make a qcow2 image of it. One that is taken for raw by its looks would be a qcow2 image the next time, with any
   * file of the host that the guest likes to name below it.
   */
  readonly guardHead?: boolean;
}

export class RawDisk implements BlockBackend {
  readonly size: number;
  readonly hasTables = false;
  readonly file: ImageFile;
  readonly #guardHead: boolean;
  #zeroes: NativeBuffer | undefined;

  /** `file` is open for what the guest may do. */
  constructor(file: ImageFile, { size, guardHead = false }: RawDiskOptions) {
    this.file = file;
    this.size = size;
    this.#guardHead = guardHead;
  }

  read(vector: IoVector, offset: number): number {
    try {
      this.file.readvWithin(vector, offset);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  write(vector: IoVector, offset: number): number {
    try {
      if (offset === 0 && this.#guardHead) return this.#writeGuarded(vector);
      this.file.writev(vector, offset);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  flush(): number {
    try {
      this.file.sync();
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  *flushSteps(): Generator<ImageFile, void, undefined> {
    yield this.file;
  }

  mapRead(offset: number, length: number, extents: ExtentList): number {
    extents.addData(this.file, offset, length);
    return length;
  }

  mapWrite(offset: number, length: number, extents: ExtentList): number {
    // The head is looked at first.
    if (offset === 0 && this.#guardHead) return 0;
    return this.mapRead(offset, length, extents);
  }

  discard(offset: number, length: number): number {
    const result = fallocate(this.file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    if (result === 0) return 0;
    const error = errno();
    // Discard is advice: a file system that cannot punch holes keeps the data.
    return error === EOPNOTSUPP ? 0 : error;
  }

  writeZeroes(offset: number, length: number, unmap: boolean): number {
    const mode = unmap
      ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
      : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(this.file.fd, mode, offset, length) === 0) return 0;
    const error = errno();
    return error === EOPNOTSUPP ? this.#writeZeroBytes(offset, length) : error;
  }

  /** The first sector is looked at in a copy: the guest could change it between the look and the write. */
  #writeGuarded(vector: IoVector): number {
    if (vector.bytes < SECTOR) {
      this.file.writev(vector, 0);
      return 0;
    }
    const sector = allocateNative(SECTOR);
    const part = new IoVector();
    part.take(vector, SECTOR);
    for (let index = 0, at = 0; index < part.count; index++) {
      memcpy(sector.address + at, part.base(index), part.length(index));
      at += part.length(index);
    }
    if (new DataView(sector.buffer).getUint32(0) === QCOW2_MAGIC) return EPERM;
    this.file.write(sector.address, SECTOR, 0);
    if (vector.bytes > 0) this.file.writev(vector, SECTOR);
    return 0;
  }

  #writeZeroBytes(offset: number, length: number): number {
    this.#zeroes ??= allocateNative(ZEROES);
    try {
      for (let done = 0; done < length; done += ZEROES) {
        this.file.write(this.#zeroes.address, Math.min(ZEROES, length - done), offset + done);
      }
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }
}
