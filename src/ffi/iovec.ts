import { allocateNative, type NativeBuffer } from "./native-buffer.ts";

const IOVEC_SIZE = 16;
const WORDS = IOVEC_SIZE / 4;

/** An array of struct iovec at a fixed address, filled anew for each readv(2) or writev(2). Allocates nothing per use. */
export class IoVector {
  /** IOV_MAX of Linux: no call takes more. */
  static readonly MAX = 1024;

  readonly address: number;
  /** How many entries there is room for. */
  readonly capacity: number;
  count = 0;
  /** Bytes in all entries. */
  bytes = 0;
  /** Kept because the address is good for only as long as this is. */
  readonly #native: NativeBuffer;
  readonly #words: Uint32Array;

  constructor(capacity: number = IoVector.MAX) {
    this.capacity = capacity;
    this.#native = allocateNative(capacity * IOVEC_SIZE);
    this.address = this.#native.address;
    this.#words = new Uint32Array(this.#native.buffer);
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  /** Appends `length` bytes at host address `base`. False if there is no room left. */
  add(base: number, length: number): boolean {
    if (length === 0) return true;
    if (this.count === this.capacity) return false;
    const at = this.count * WORDS;
    const words = this.#words;
    words[at] = base % 2 ** 32;
    words[at + 1] = base / 2 ** 32;
    words[at + 2] = length;
    words[at + 3] = 0;
    this.count += 1;
    this.bytes += length;
    return true;
  }

  /** Host address of entry `index`. */
  base(index: number): number {
    return this.#words[index * WORDS + 1]! * 2 ** 32 + this.#words[index * WORDS]!;
  }

  /** Bytes of entry `index`. */
  length(index: number): number {
    return this.#words[index * WORDS + 2]!;
  }

  /** Whether every entry begins and ends at a multiple of `block`, a power of two. */
  alignedTo(block: number): boolean {
    const words = this.#words;
    let bits = 0;
    for (let at = 0, end = this.count * WORDS; at < end; at += WORDS) bits |= words[at]! | words[at + 2]!;
    return (bits & (block - 1)) === 0;
  }

  /** Appends bytes [skip, skip + length) of `source`, which stays as it is. False, and nothing appended, if there is no room left. */
  addSlice(source: IoVector, skip: number, length: number): boolean {
    const { count, bytes } = this;
    let left = length;
    for (let index = 0; left > 0; index++) {
      const size = source.length(index);
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const part = Math.min(size - skip, left);
      if (!this.add(source.base(index) + skip, part)) {
        this.count = count;
        this.bytes = bytes;
        return false;
      }
      left -= part;
      skip = 0;
    }
    return true;
  }

  /** Moves the first `length` bytes of `source` to the end of this one. False, and nothing moved, if there is no room left. */
  take(source: IoVector, length: number): boolean {
    let entries = 0;
    for (let bytes = 0; bytes < length; entries++) bytes += source.length(entries);
    if (this.count + entries > this.capacity) return false;
    for (let left = length, index = 0; left > 0; index++) {
      const bytes = Math.min(left, source.length(index));
      this.add(source.base(index), bytes);
      left -= bytes;
    }
    source.consume(length);
    return true;
  }

  /** Drops the first `length` bytes, after a call that transferred only so many. */
  consume(length: number): void {
    const words = this.#words;
    let left = length;
    let first = 0;
    while (first < this.count && left >= words[first * WORDS + 2]!) {
      left -= words[first * WORDS + 2]!;
      first += 1;
    }
    words.copyWithin(0, first * WORDS, this.count * WORDS);
    this.count -= first;
    this.bytes -= length;
    if (left > 0) {
      const base = words[1]! * 2 ** 32 + words[0]! + left;
      words[0] = base % 2 ** 32;
      words[1] = base / 2 ** 32;
      words[2] = words[2]! - left;
    }
  }
}
