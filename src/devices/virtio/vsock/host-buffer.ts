/** Bytes on their way from the guest to a unix socket that does not take them yet: a ring as large as the credit of the guest. */
import { EAGAIN } from "../../../ffi/constants.ts";
import type { IoVector } from "../../../ffi/iovec.ts";
import { errno, memcpy, write } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import { BUF_ALLOC } from "./credit.ts";

export class HostBuffer {
  readonly #native = allocateNative(BUF_ALLOC);
  #start = 0;
  length = 0;

  clear(): void {
    this.#start = 0;
    this.length = 0;
  }

  /** Copies what `vector` points to. There must be room: whoever keeps to its credit cannot send more. */
  append(vector: IoVector): void {
    if (this.length + vector.bytes > BUF_ALLOC) throw new RangeError("more bytes than credit");
    for (let index = 0; index < vector.count; index++) {
      let from = vector.base(index);
      for (let left = vector.length(index); left > 0;) {
        const end = (this.#start + this.length) % BUF_ALLOC;
        const piece = Math.min(left, BUF_ALLOC - end);
        memcpy(this.#native.address + end, from, piece);
        this.length += piece;
        from += piece;
        left -= piece;
      }
    }
  }

  /** Writes to `fd` what it takes, and returns how much that is; -1 if nobody will ever read it. */
  flush(fd: number): number {
    let done = 0;
    while (this.length > 0) {
      const piece = Math.min(this.length, BUF_ALLOC - this.#start);
      const wrote = write(fd, this.#native.address + this.#start, piece);
      if (wrote < 0) return errno() === EAGAIN ? done : -1;
      this.#start = (this.#start + wrote) % BUF_ALLOC;
      this.length -= wrote;
      done += wrote;
    }
    return done;
  }
}
