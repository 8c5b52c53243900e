/**
 * O_DIRECT, open(2): transfers between a file and memory past the page cache. Both must be aligned to the file's block, so
 * what is not goes through an aligned buffer, with the rest of its first and last block around it.
 */
import { constants } from "node:fs";
import { EINVAL, F_GETFL, F_SETFL } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { errno, fcntl, memcpy, memset, pread, pwrite } from "../ffi/libc.ts";
import { allocateNative, type NativeBuffer } from "../ffi/native-buffer.ts";
import { EIO } from "./io-error.ts";

/** What one transfer through the buffer moves at most, in bytes. */
const BOUNCE_BYTES = 256 * 1024;
/** Of disks, and of file systems on them. The memory that mmap(2) gives is aligned for both. */
const BLOCK_SIZES = [512, 4096];

/**
 * Makes the open file `fd` one that is read and written past the page cache.
 * Returns its block in bytes; 0 where its file system cannot do that, and nothing has changed.
 */
export function enableDirectIo(fd: number): number {
  const flags = fcntl(fd, F_GETFL, 0);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | constants.O_DIRECT) !== 0) return 0;
  const probe = allocateNative(BLOCK_SIZES.at(-1)!);
  for (const block of BLOCK_SIZES) {
    // A shorter read means that the file ends there; only EINVAL speaks of alignment.
    if (pread(fd, probe.address, block, 0) >= 0 || errno() !== EINVAL) return block;
  }
  fcntl(fd, F_SETFL, flags);
  return 0;
}

/** Transfers at any address and offset through a buffer that is aligned. Like pread(2) and pwrite(2), but in as many calls as needed. */
export class BounceIo {
  readonly #fd: number;
  readonly #block: number;
  readonly #buffer: NativeBuffer = allocateNative(BOUNCE_BYTES);
  readonly #part = new IoVector();

  /** `block` in bytes, a power of two. */
  constructor(fd: number, block: number) {
    this.#fd = fd;
    this.#block = block;
  }

  /** Fills `vector`, which is empty afterwards. Returns how many bytes there were before the file ended, or -errno. */
  readv(vector: IoVector, offset: number): number {
    let done = 0;
    while (vector.bytes > 0) {
      const at = offset + done;
      const skip = at % this.#block;
      const wanted = Math.min(vector.bytes, BOUNCE_BYTES - skip);
      const got = this.#readBlocks(at - skip, skip + wanted);
      if (got < 0) return got;
      const usable = Math.min(wanted, got - skip);
      if (usable <= 0) return done;
      this.#take(vector, usable);
      this.#copy(skip, memcpyFromBuffer);
      done += usable;
      if (usable < wanted) return done;
    }
    return done;
  }

  /** Writes all of `vector`, which is empty afterwards. Returns 0, or -errno. */
  writev(vector: IoVector, offset: number): number {
    for (let at = offset; vector.bytes > 0;) {
      const skip = at % this.#block;
      const bytes = Math.min(vector.bytes, BOUNCE_BYTES - skip);
      const length = Math.ceil((skip + bytes) / this.#block) * this.#block;
      const error = this.#readAround(at - skip, skip, bytes, length);
      if (error !== 0) return error;
      this.#take(vector, bytes);
      this.#copy(skip, memcpyToBuffer);
      for (let done = 0; done < length;) {
        const wrote = pwrite(this.#fd, this.#buffer.address + done, length - done, at - skip + done);
        if (wrote <= 0) return wrote === 0 ? -EIO : -errno();
        done += wrote;
      }
      at += bytes;
    }
    return 0;
  }

  /** Puts into the buffer what stands in the file around [start + skip, start + skip + bytes), up to whole blocks. */
  #readAround(start: number, skip: number, bytes: number, length: number): number {
    const block = this.#block;
    const tail = (skip + bytes) % block;
    if (skip > 0) {
      const error = this.#readBlock(start, 0);
      if (error !== 0) return error;
    }
    // The first block may be the last one, and is there already then.
    return tail > 0 && (skip === 0 || length > block)
      ? this.#readBlock(start + length - block, length - block)
      : 0;
  }

  #readBlock(offset: number, at: number): number {
    const got = pread(this.#fd, this.#buffer.address + at, this.#block, offset);
    if (got < 0) return -errno();
    memset(this.#buffer.address + at + got, 0, this.#block - got);
    return 0;
  }

  #readBlocks(start: number, bytes: number): number {
    const length = Math.ceil(bytes / this.#block) * this.#block;
    let got = 0;
    while (got < length) {
      const more = pread(this.#fd, this.#buffer.address + got, length - got, start + got);
      if (more < 0) return -errno();
      got += more;
      // The end of the file; from anywhere else than a block boundary one could not go on anyway.
      if (more === 0 || got % this.#block !== 0) break;
    }
    return got;
  }

  #take(vector: IoVector, bytes: number): void {
    this.#part.clear();
    this.#part.take(vector, bytes);
  }

  #copy(skip: number, copy: (buffer: number, memory: number, length: number) => void): void {
    let at = this.#buffer.address + skip;
    for (let index = 0; index < this.#part.count; index++) {
      const length = this.#part.length(index);
      copy(at, this.#part.base(index), length);
      at += length;
    }
  }
}

function memcpyFromBuffer(buffer: number, memory: number, length: number): void {
  memcpy(memory, buffer, length);
}

function memcpyToBuffer(buffer: number, memory: number, length: number): void {
  memcpy(buffer, memory, length);
}
