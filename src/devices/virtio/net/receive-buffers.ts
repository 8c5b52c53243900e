/**
 * Buffers that the driver has made available for frames, taken from the queue before there is a frame: which of them a frame
 * needs shows only when it has been read. Those that are left are for the next frame.
 */
import { IoVector } from "../../../ffi/iovec.ts";
import { VirtqueueError, type DescriptorChain, type Virtqueue } from "../queue.ts";

export class ReceiveBuffers {
  /** The host ranges of all chains, in their order. */
  readonly vector = new IoVector();
  readonly #heads: number[] = [];
  /** Of each chain: bytes, and entries in {@link vector}. */
  readonly #bytes: number[] = [];
  readonly #entries: number[] = [];
  /** Guest address of the first byte of each chain's first buffer. */
  readonly #start: number[] = [];

  /** Bytes in all of them. */
  get bytes(): number {
    return this.vector.bytes;
  }

  /** How many of the entries of {@link vector} belong to the first chain. */
  get firstEntries(): number {
    return this.#entries[0]!;
  }

  get chains(): number {
    return this.#heads.length;
  }

  /** Guest address of the first byte of the first chain. */
  get start(): number {
    return this.#start[0]!;
  }

  clear(): void {
    this.vector.clear();
    this.#heads.length = 0;
    this.#bytes.length = 0;
    this.#entries.length = 0;
    this.#start.length = 0;
  }

  /** Takes chains from `queue` until they have room for `wanted` bytes; false if there are not so many. */
  fill(queue: Virtqueue, wanted: number, header: number): boolean {
    while (this.vector.bytes < wanted) {
      if (!queue.peek() && !(queue.enableNotifications() && queue.peek())) return false;
      if (!this.#add(queue.chain, header)) return true; // as many as fit, and more than any frame needs
      queue.take();
    }
    return true;
  }

  /**
   * Gives the chains that hold the first `length` bytes back to the driver, and forgets them. `most` chains at most; returns how many
   * it were.
   */
  use(queue: Virtqueue, length: number, most: number): number {
    let chains = 0;
    let bytes = 0;
    let left = length;
    while (left > 0 && chains < most) {
      const part = Math.min(left, this.#bytes[chains]!);
      queue.giveBack(this.#heads[chains]!, part);
      left -= part;
      bytes += this.#bytes[chains]!;
      chains += 1;
    }
    this.vector.consume(bytes);
    for (const list of [this.#heads, this.#bytes, this.#entries, this.#start]) list.splice(0, chains);
    return chains;
  }

  /** How many chains a frame of `length` bytes takes. */
  chainsFor(length: number): number {
    let chains = 0;
    for (let left = length; left > 0 && chains < this.#bytes.length; chains++) left -= this.#bytes[chains]!;
    return chains;
  }

  #add(chain: DescriptorChain, header: number): boolean {
    const { vector } = this;
    const entries = chain.count - chain.readable;
    if (entries === 0 || chain.length[chain.readable]! < header) {
      throw new VirtqueueError("receive buffer without room for the header");
    }
    if (vector.count + entries > vector.capacity) return false;
    const before = vector.count;
    for (let at = chain.readable; at < chain.count; at++) vector.add(chain.host[at]!, chain.length[at]!);
    this.#heads.push(chain.head);
    this.#bytes.push(chain.writableBytes);
    this.#entries.push(vector.count - before);
    this.#start.push(chain.gpa[chain.readable]!);
    return true;
  }
}
