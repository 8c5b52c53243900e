/**
 * Buffers that the driver has made available for frames, taken from the queue before there is a frame: which of them a frame
 * needs shows only when it has been read. Those that are left are for the next frame.
 */
import { IoVector } from "../../../ffi/iovec.ts";
import { VirtqueueError, type DescriptorChain, type Virtqueue } from "../queue.ts";

export class ReceiveBuffers {
  /** The host ranges of all chains, in their order. */
  readonly vector = new IoVector();
  /** Of each chain its head, its bytes, its entries in {@link vector}, and the guest address of its first buffer. */
  readonly #heads = new Int32Array(IoVector.MAX);
  readonly #bytes = new Float64Array(IoVector.MAX);
  readonly #entries = new Int32Array(IoVector.MAX);
  readonly #starts = new Float64Array(IoVector.MAX);
  #count = 0;

  /** How many of the entries of {@link vector} belong to the first chain. */
  get firstEntries(): number {
    return this.#entries[0]!;
  }

  /** Guest address of the first byte of the first chain. */
  get start(): number {
    return this.#starts[0]!;
  }

  clear(): void {
    this.vector.clear();
    this.#count = 0;
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

  /** How many chains a frame of `length` bytes takes. */
  chainsFor(length: number): number {
    let chains = 0;
    for (let left = length; left > 0 && chains < this.#count; chains++) left -= this.#bytes[chains]!;
    return chains;
  }

  /** Gives the first `chains` chains, which hold a frame of `length` bytes, back to the driver, and forgets them. */
  use(queue: Virtqueue, length: number, chains: number): void {
    let room = 0;
    for (let chain = 0; chain < chains; chain++) {
      const bytes = this.#bytes[chain]!;
      queue.giveBack(this.#heads[chain]!, Math.max(0, Math.min(bytes, length - room)));
      room += bytes;
    }
    this.vector.consume(room);
    for (const list of [this.#heads, this.#bytes, this.#entries, this.#starts])
      list.copyWithin(0, chains, this.#count);
    this.#count -= chains;
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
    const at = this.#count++;
    this.#heads[at] = chain.head;
    this.#bytes[at] = chain.writableBytes;
    this.#entries[at] = vector.count - before;
    this.#starts[at] = chain.gpa[chain.readable]!;
    return true;
  }
}
