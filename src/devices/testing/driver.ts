/**
 * The driver's side of a virtio device, for tests: the registers of the transport, rings in guest memory, and chains of
 * descriptors. It checks nothing: what a hostile driver writes can be written with it.
 */
import { MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../../ffi/constants.ts";
import { mmap, munmap, view } from "../../ffi/libc.ts";
import { GuestMemory } from "../../kvm/guest-memory.ts";
import { VirtioBackend } from "../virtio/backend.ts";
import { ACKNOWLEDGE, DEVICE_NEEDS_RESET, DRIVER, DRIVER_OK, FEATURES_OK } from "../virtio/constants.ts";
import { R, VirtioMmio } from "../virtio/mmio.ts";
import type { DescriptorChain } from "../virtio/queue.ts";
import { VirtioState, type VirtioModel } from "../virtio/state.ts";

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
const DESCRIPTOR_BYTES = 16;

/** One buffer of a chain. */
export interface Segment {
  readonly gpa: number;
  readonly length: number;
  readonly writable?: boolean;
}

/** A descriptor as it stands in the table; `gpa` may be any 64-bit value. */
export interface RawDescriptor {
  readonly gpa: number | bigint;
  readonly length: number;
  readonly flags?: number;
  readonly next?: number;
}

const GUARD_BYTES = 256 * 1024;
/** What lies around guarded memory. */
export const GUARD_BYTE = 0xc5;

/** Guest memory with a canary before and after it in the address space of the process. */
export interface GuardedMemory {
  readonly memory: GuestMemory;
  /** Whether nothing has been written around the memory. */
  intact(): boolean;
  release(): void;
}

export function guardedMemory(size: number): GuardedMemory {
  const total = size + 2 * GUARD_BYTES;
  const start = mmap(total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  const guards = [start, start + GUARD_BYTES + size].map((at) =>
    Buffer.from(view(at, GUARD_BYTES)).fill(GUARD_BYTE),
  );
  const untouched = Buffer.alloc(GUARD_BYTES, GUARD_BYTE);
  return {
    memory: new GuestMemory({ fd: -1, hostAddress: start + GUARD_BYTES, size }),
    intact: () => guards.every((guard) => guard.equals(untouched)),
    release: () => {
      munmap(start, total);
    },
  };
}

/** A virtqueue as its driver sees it. */
export class DriverQueue {
  readonly size: number;
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  /** What the driver writes into avail.idx next; not masked. */
  availIndex = 0;
  readonly #ram: DataView;
  #seenUsed = 0;
  #nextDescriptor = 0;

  constructor(ram: DataView, size: number, [desc, avail, used]: readonly [number, number, number]) {
    this.#ram = ram;
    this.size = size;
    this.desc = desc;
    this.avail = avail;
    this.used = used;
  }

  setDescriptor(index: number, descriptor: RawDescriptor, table = this.desc): void {
    const at = table + index * DESCRIPTOR_BYTES;
    this.#ram.setBigUint64(at, BigInt(descriptor.gpa), true);
    this.#ram.setUint32(at + 8, descriptor.length, true);
    this.#ram.setUint16(at + 12, descriptor.flags ?? 0, true);
    this.#ram.setUint16(at + 14, descriptor.next ?? 0, true);
  }

  /** Writes `segments` into a descriptor table from `first` on, linked, and returns the first. */
  link(segments: readonly Segment[], first = 0, table = this.desc, size = this.size): number {
    for (const [position, { gpa, length, writable }] of segments.entries()) {
      const last = position === segments.length - 1;
      this.setDescriptor(
        (first + position) % size,
        {
          gpa,
          length,
          flags: (writable === true ? WRITE : 0) | (last ? 0 : NEXT),
          next: last ? 0 : (first + position + 1) % size,
        },
        table,
      );
    }
    return first;
  }

  /** Makes the chain at `head` available. */
  offer(head: number): void {
    this.#ram.setUint16(this.avail + 4 + 2 * (this.availIndex % this.size), head, true);
    this.setAvailIndex(this.availIndex + 1);
  }

  /** A chain in the next free descriptors, made available. Returns its head. */
  submit(segments: readonly Segment[]): number {
    const head = this.link(segments, this.#nextDescriptor);
    this.#nextDescriptor = (this.#nextDescriptor + segments.length) % this.size;
    this.offer(head);
    return head;
  }

  /** The same through an indirect table at guest address `table`. */
  submitIndirect(segments: readonly Segment[], table: number): number {
    this.link(segments, 0, table, Math.max(segments.length, 1));
    const head = this.#nextDescriptor;
    this.#nextDescriptor = (head + 1) % this.size;
    this.setDescriptor(head, { gpa: table, length: segments.length * DESCRIPTOR_BYTES, flags: INDIRECT });
    this.offer(head);
    return head;
  }

  setAvailIndex(index: number): void {
    this.availIndex = index;
    this.#ram.setUint16(this.avail + 2, index & 0xffff, true);
  }

  setAvailFlags(flags: number): void {
    this.#ram.setUint16(this.avail, flags, true);
  }

  setUsedEvent(index: number): void {
    this.#ram.setUint16(this.avail + 4 + 2 * this.size, index & 0xffff, true);
  }

  get usedFlags(): number {
    return this.#ram.getUint16(this.used, true);
  }

  get usedIndex(): number {
    return this.#ram.getUint16(this.used + 2, true);
  }

  get availEvent(): number {
    return this.#ram.getUint16(this.used + 4 + 8 * this.size, true);
  }

  /** What has come back since the last time. */
  takeUsed(): { id: number; length: number }[] {
    const taken: { id: number; length: number }[] = [];
    while (this.#seenUsed !== this.usedIndex) {
      const at = this.used + 4 + 8 * (this.#seenUsed % this.size);
      taken.push({ id: this.#ram.getUint32(at, true), length: this.#ram.getUint32(at + 4, true) });
      this.#seenUsed = (this.#seenUsed + 1) & 0xffff;
    }
    return taken;
  }
}

/** Rings and buffers lie in the first bytes of guest memory, whatever its size. */
const RAM_IN_VIEW = 16 * 2 ** 20;

/** A device with its transport, and a driver for it. */
export class Rig<B extends VirtioBackend = VirtioBackend> {
  readonly memory: GuestMemory;
  readonly state: VirtioState;
  readonly transport: VirtioMmio;
  readonly backend: B;
  readonly ram: DataView;
  readonly bytes: Uint8Array;
  interrupts = 0;
  wakes = 0;
  #free = 0x1000;

  constructor(model: VirtioModel, memory: GuestMemory, build: (state: VirtioState) => B) {
    this.memory = memory;
    const words = new Int32Array(new SharedArrayBuffer(VirtioState.bytes(model)));
    this.state = new VirtioState(model, words, () => this.interrupts++);
    this.state.initialize();
    this.transport = new VirtioMmio(this.state, () => this.wakes++);
    this.backend = build(this.state);
    this.bytes = memory.viewOf(0, Math.min(memory.size, RAM_IN_VIEW));
    this.ram = new DataView(this.bytes.buffer);
  }

  get(register: number): number {
    return this.transport.read(register, 4);
  }

  set(register: number, value: number): void {
    this.transport.write(register, 4, value);
  }

  /** Guest addresses nobody uses yet. */
  allocate(bytes: number, align = 16): number {
    const at = Math.ceil(this.#free / align) * align;
    if (at + bytes > this.bytes.length) throw new RangeError("the test needs more guest memory");
    this.#free = at + bytes;
    return at;
  }

  /** A buffer with `content`. */
  place(content: Uint8Array): Segment {
    const gpa = this.allocate(content.length);
    this.bytes.set(content, gpa);
    return { gpa, length: content.length };
  }

  get offered(): bigint {
    return [1, 0].reduce((bits, page) => {
      this.set(R.DeviceFeaturesSel, page);
      return (bits << 32n) | BigInt(this.get(R.DeviceFeatures));
    }, 0n);
  }

  /** Up to and including FEATURES_OK, with all that is offered unless told otherwise. */
  negotiate(features = this.offered): void {
    this.set(R.Status, ACKNOWLEDGE);
    this.set(R.Status, ACKNOWLEDGE | DRIVER);
    for (const page of [0, 1]) {
      this.set(R.DriverFeaturesSel, page);
      this.set(R.DriverFeatures, Number((features >> BigInt(32 * page)) & 0xffff_ffffn));
    }
    this.set(R.Status, ACKNOWLEDGE | DRIVER | FEATURES_OK);
  }

  /** Writes the registers of queue `index`; ready unless told otherwise. */
  setQueue(index: number, size: number, rings: readonly [number, number, number], ready = 1): DriverQueue {
    this.set(R.QueueSel, index);
    this.set(R.QueueNum, size);
    for (const [at, register] of [R.QueueDescLow, R.QueueDriverLow, R.QueueDeviceLow].entries()) {
      this.set(register, rings[at]! % 2 ** 32);
      this.set(register + 4, Math.floor(rings[at]! / 2 ** 32));
    }
    this.set(R.QueueReady, ready);
    return new DriverQueue(this.ram, size, rings);
  }

  /** Zeroed rings of its own for queue `index`, in service from DRIVER_OK on. */
  makeQueue(index: number, size = this.state.model.queueSizes[index]!): DriverQueue {
    const zeroed = (bytes: number, align: number): number => {
      const at = this.allocate(bytes, align);
      this.bytes.fill(0, at, at + bytes);
      return at;
    };
    return this.setQueue(index, size, [
      zeroed(DESCRIPTOR_BYTES * size, 16),
      zeroed(6 + 2 * size, 2),
      zeroed(6 + 8 * size, 4),
    ]);
  }

  start(): void {
    this.set(R.Status, this.get(R.Status) | DRIVER_OK);
  }

  /** The whole set-up, as a driver does it. */
  bringUp(features = this.offered): DriverQueue[] {
    this.negotiate(features);
    const queues = this.state.model.queueSizes.map((_, index) => this.makeQueue(index));
    this.start();
    return queues;
  }

  /** Runs queue `index` until it rests; fails if that takes more turns than `limit`. */
  run(index = 0, limit = 1000): void {
    for (let turn = 0; this.backend.run(index); turn++) {
      if (turn > limit) throw new Error("the queue does not come to rest");
    }
  }

  get needsReset(): boolean {
    return (this.get(R.Status) & DEVICE_NEEDS_RESET) !== 0;
  }

  /** Interrupts since the last time this was asked. */
  takeInterrupts(): number {
    const count = this.interrupts;
    this.interrupts = 0;
    return count;
  }
}

/** A chain as a device saw it. */
export interface SeenChain {
  readonly queue: number;
  readonly head: number;
  readonly segments: readonly Segment[];
}

/** A device that remembers its chains and does what it is told with them. */
export class ProbeBackend extends VirtioBackend {
  seen: SeenChain[] = [];
  resets = 0;
  /** What becomes of each chain. */
  answer: (chain: DescriptorChain) => number = () => 0;

  protected override handle(queue: number, chain: DescriptorChain): number {
    const segments = Array.from({ length: chain.count }, (_, at) => ({
      gpa: chain.gpa[at]!,
      length: chain.length[at]!,
      writable: at >= chain.readable,
    }));
    this.seen.push({ queue, head: chain.head, segments });
    return this.answer(chain);
  }

  protected override reset(): void {
    this.resets++;
  }
}

/** A model with one queue of `size` and `config`. */
export function probeModel(size: number, config: Uint8Array = new Uint8Array(0), queues = 1): VirtioModel {
  return { deviceId: 63, features: [0, 5], queueSizes: Array.from({ length: queues }, () => size), config };
}
