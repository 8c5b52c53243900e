/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7), with indirect descriptors and event index.
 *
 * The driver may lie and may change anything at any time. Each descriptor is read once, checked against the memory map, and
 * only the checked copy is used. A chain has at most as many descriptors as the queue; a broken one throws
 * {@link VirtqueueError}, upon which the device asks for a reset.
 */
import { TsvmError } from "../../errors.ts";
import { memcpy } from "../../ffi/libc.ts";
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from "./constants.ts";
import { Q, type VirtioState } from "./state.ts";

const VIRTQ_DESC_F_NEXT = 1;
const VIRTQ_DESC_F_WRITE = 2;
const VIRTQ_DESC_F_INDIRECT = 4;
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
const DESCRIPTOR_SIZE = 16;
const DESCRIPTOR_WORDS = DESCRIPTOR_SIZE / 4;

/** The driver broke a rule of section 2.7. */
export class VirtqueueError extends TsvmError {
  override name = "VirtqueueError";
  constructor(message: string) {
    super("ERR_VIRTQUEUE", `virtqueue: ${message}`);
  }
}

/**
 * One descriptor chain, as checked copies. The object is reused for each chain of its queue.
 * Buffers 0..readable-1 are for the device to read, readable..count-1 for it to write.
 */
export class DescriptorChain {
  head = 0;
  count = 0;
  readable = 0;
  /** Bytes in all readable and all writable buffers. */
  readableBytes = 0;
  writableBytes = 0;
  /** Guest address, checked host address and length in bytes of each buffer. */
  readonly gpa: Float64Array;
  readonly host: Float64Array;
  readonly length: Float64Array;

  constructor(capacity: number) {
    this.gpa = new Float64Array(capacity);
    this.host = new Float64Array(capacity);
    this.length = new Float64Array(capacity);
  }

  clear(head: number): void {
    this.head = head;
    this.count = 0;
    this.readable = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
  }
}

export class Virtqueue {
  readonly size: number;
  readonly chain: DescriptorChain;
  readonly #state: VirtioState;
  readonly #memory: GuestMemory;
  readonly #base: number;
  readonly #descriptors: DataView;
  readonly #avail: Uint16Array;
  readonly #used16: Uint16Array;
  readonly #used32: Uint32Array;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  /** The last indirect table, and its words. */
  #table: NativeBuffer | undefined;
  #words = new Uint32Array(0);
  /** next_used at the last notification decision. */
  #signalledUsed: number;

  /** Takes queue `index` into service. Throws {@link VirtqueueError} where its rings are not in RAM or not aligned. */
  constructor(state: VirtioState, memory: GuestMemory, index: number) {
    this.#state = state;
    this.#memory = memory;
    this.#base = state.queueBase(index);
    this.size = this.#word(Q.NUM);
    this.chain = new DescriptorChain(this.size);
    const ring = (low: number, high: number, bytes: number, align: number, name: string): ArrayBuffer => {
      const gpa = this.#word(high) * 2 ** 32 + this.#word(low);
      if (gpa % align !== 0)
        throw new VirtqueueError(`${name} at 0x${gpa.toString(16)} is not aligned to ${align}`);
      if (!memory.contains(gpa, bytes)) {
        throw new VirtqueueError(`${name} at 0x${gpa.toString(16)} (${bytes} bytes) is not in RAM`);
      }
      // A view of exactly the ring: no index, however wrong, reaches anything else.
      return memory.viewOf(gpa, bytes).buffer;
    };
    this.#descriptors = new DataView(
      ring(Q.DESC_LOW, Q.DESC_HIGH, DESCRIPTOR_SIZE * this.size, 16, "descriptor table"),
    );
    this.#avail = new Uint16Array(ring(Q.DRIVER_LOW, Q.DRIVER_HIGH, 6 + 2 * this.size, 2, "available ring"));
    const used = ring(Q.DEVICE_LOW, Q.DEVICE_HIGH, 8 + 8 * this.size, 4, "used ring");
    this.#used16 = new Uint16Array(used);
    this.#used32 = new Uint32Array(used);
    this.#eventIdx = state.negotiated(VIRTIO_F_EVENT_IDX);
    this.#indirect = state.negotiated(VIRTIO_F_INDIRECT_DESC);
    this.#signalledUsed = this.#nextUsed;
  }

  /** Looks at the next available chain without taking it: the shared {@link chain} describes it. False if there is none. */
  peek(): boolean {
    const available = Atomics.load(this.#avail, 1);
    const pending = (available - this.#lastAvail) & 0xffff;
    if (pending === 0) return false;
    if (pending > this.size)
      throw new VirtqueueError(`${pending} chains available in a queue of ${this.size}`);
    const head = this.#avail[2 + (this.#lastAvail & (this.size - 1))]!;
    this.#walk(head);
    return true;
  }

  /** Takes the chain that {@link peek} showed and gives it back to the driver with `written` bytes written into it. */
  complete(written: number): void {
    this.take();
    this.giveBack(this.chain.head, written);
  }

  /** Takes the chain that {@link peek} showed: the next one is what it shows from now on. */
  take(): void {
    this.#setWord(Q.LAST_AVAIL, (this.#lastAvail + 1) & 0xffff);
  }

  /** Gives the chain that begins at `head`, and was taken before, to the driver. */
  giveBack(head: number, written: number): void {
    const slot = 1 + 2 * (this.#nextUsed & (this.size - 1));
    this.#used32[slot] = head;
    this.#used32[slot + 1] = written;
    const next = (this.#nextUsed + 1) & 0xffff;
    this.#setWord(Q.NEXT_USED, next);
    // Sequentially consistent: the element above is visible before the index that covers it.
    Atomics.store(this.#used16, 1, next);
  }

  /**
   * After the last chain: asks the driver to notify us about the next one. True if one has arrived meanwhile,
   * in which case the caller goes on instead of sleeping.
   */
  enableNotifications(): boolean {
    if (this.#eventIdx) {
      // avail_event is the word after the used ring. The store is a full barrier before the load below.
      Atomics.store(this.#used16, 2 + 4 * this.size, this.#lastAvail);
    }
    return Atomics.load(this.#avail, 1) !== this.#lastAvail;
  }

  /** Whether the driver wants to hear of what {@link complete} has returned since the last time this was asked. */
  shouldNotify(): boolean {
    const next = this.#nextUsed;
    const before = this.#signalledUsed;
    if (next === before) return false;
    this.#signalledUsed = next;
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    // Section 2.7.7.2: used_event (the word after the available ring) lies in [before, next).
    const usedEvent = Atomics.load(this.#avail, 2 + this.size);
    return ((next - usedEvent - 1) & 0xffff) < ((next - before) & 0xffff);
  }

  get #lastAvail(): number {
    return this.#word(Q.LAST_AVAIL);
  }

  get #nextUsed(): number {
    return this.#word(Q.NEXT_USED);
  }

  #word(index: number): number {
    return this.#state.words[this.#base + index]! >>> 0;
  }

  #setWord(index: number, value: number): void {
    this.#state.words[this.#base + index] = value;
  }

  #walk(head: number): void {
    const chain = this.chain;
    chain.clear(head);
    if (head >= this.size) throw new VirtqueueError(`descriptor ${head} in a table of ${this.size}`);
    let index = head;
    for (let seen = 0; ; seen++) {
      if (seen >= this.size) throw new VirtqueueError("descriptor chain loops");
      const offset = index * DESCRIPTOR_SIZE;
      const table = this.#descriptors;
      const gpa = table.getUint32(offset + 4, true) * 2 ** 32 + table.getUint32(offset, true);
      const length = table.getUint32(offset + 8, true);
      const flags = table.getUint16(offset + 12, true);
      const next = table.getUint16(offset + 14, true);
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.#indirect) throw new VirtqueueError("indirect descriptor without the feature");
        if ((flags & VIRTQ_DESC_F_NEXT) !== 0)
          throw new VirtqueueError("indirect descriptor with a successor");
        this.#walkIndirect(gpa, length);
        return;
      }
      this.#append(gpa, length, flags);
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return;
      if (next >= this.size) throw new VirtqueueError(`descriptor ${next} in a table of ${this.size}`);
      index = next;
    }
  }

  #walkIndirect(table: number, bytes: number): void {
    const entries = bytes / DESCRIPTOR_SIZE;
    if (!Number.isInteger(entries) || entries === 0 || entries > 0x1_0000) {
      throw new VirtqueueError(`indirect table of ${bytes} bytes`);
    }
    const host = this.#memory.hostAddress(table, bytes);
    if (host === -1) throw new VirtqueueError("indirect table is not in RAM");
    // A copy: one call for all of it, and nobody changes it any more.
    const words = this.#tableWords(bytes);
    memcpy(this.#table!.address, host, bytes);
    let index = 0;
    for (let seen = 0; ; seen++) {
      if (seen >= entries) throw new VirtqueueError("indirect descriptor chain loops");
      const at = index * DESCRIPTOR_WORDS;
      const gpa = words[at + 1]! * 2 ** 32 + words[at]!;
      const length = words[at + 2]!;
      const flags = words[at + 3]! & 0xffff;
      const next = words[at + 3]! >>> 16;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0)
        throw new VirtqueueError("indirect table inside an indirect table");
      this.#append(gpa, length, flags);
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return;
      if (next >= entries) throw new VirtqueueError(`descriptor ${next} in an indirect table of ${entries}`);
      index = next;
    }
  }

  /** Room for a copy of an indirect table; at most 1 MiB, since no table is longer. */
  #tableWords(bytes: number): Uint32Array {
    if (this.#table === undefined || this.#table.buffer.byteLength < bytes) {
      this.#table = allocateNative(bytes);
      this.#words = new Uint32Array(this.#table.buffer);
    }
    return this.#words;
  }

  #append(gpa: number, length: number, flags: number): void {
    const chain = this.chain;
    const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0;
    if (!writable && chain.readable < chain.count) {
      throw new VirtqueueError("readable descriptor after a writable one");
    }
    // Section 2.7.4.1: a chain is no longer than the queue, wherever its descriptors stand.
    if (chain.count >= this.size) throw new VirtqueueError(`chain longer than the queue of ${this.size}`);
    const host = this.#memory.hostAddress(gpa, length);
    if (host === -1) {
      throw new VirtqueueError(`buffer at 0x${gpa.toString(16)} (${length} bytes) is not in RAM`);
    }
    const at = chain.count;
    chain.gpa[at] = gpa;
    chain.host[at] = host;
    chain.length[at] = length;
    chain.count = at + 1;
    if (writable) chain.writableBytes += length;
    else {
      chain.readable = at + 1;
      chain.readableBytes += length;
    }
  }
}
