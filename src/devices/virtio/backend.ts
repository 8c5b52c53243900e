/**
 * The part of a virtio device that runs on the I/O thread: it follows the driver's set-up, owns the queues, and hands
 * chains to the device. The device lock is held while guest memory is touched, so that a reset can wait for it.
 */
import type { GuestMemory } from "../../kvm/guest-memory.ts";
import type { IoVector } from "../../ffi/iovec.ts";
import { Virtqueue, VirtqueueError, type DescriptorChain } from "./queue.ts";
import { Q, type VirtioState } from "./state.ts";

/** What {@link VirtioBackend.handle} returns when a chain cannot be finished now; it stays in the queue. */
export const BLOCKED = -1;
/** What it returns when a chain has had its share of time: it stays in the queue, which gets another turn. */
export const UNFINISHED = -2;
/** What it returns when it goes on with a chain by itself, and ends it by {@link VirtioBackend.beginAnswer}. */
export const PENDING = -3;

export abstract class VirtioBackend {
  readonly state: VirtioState;
  protected readonly memory: GuestMemory;
  protected queues: (Virtqueue | undefined)[] = [];
  #epoch = -1;

  constructor(state: VirtioState, memory: GuestMemory) {
    this.state = state;
    this.memory = memory;
  }

  /**
   * Serves queue `index` until it is empty or blocked. Returns true when it stopped for fairness with chains left:
   * the caller must come back. A driver that breaks the protocol gets its device marked as needing a reset.
   */
  run(index: number): boolean {
    this.state.lock.acquire();
    try {
      if (!this.#sync()) return false;
      const queue = this.queues[index];
      return queue === undefined ? false : this.serve(queue, index);
    } catch (error) {
      if (!(error instanceof VirtqueueError)) throw error;
      this.#fail();
      return false;
    } finally {
      this.state.lock.release();
    }
  }

  /** The driver has set the device up, reset it, or changed a queue. */
  synchronize(): void {
    this.state.lock.acquire();
    try {
      this.#sync();
    } catch (error) {
      if (!(error instanceof VirtqueueError)) throw error;
      this.#fail();
    } finally {
      this.state.lock.release();
    }
  }

  /** What {@link beginAnswer} wants to know: which life of the device a chain belongs to. */
  protected get epoch(): number {
    return this.#epoch;
  }

  /**
   * For a chain that was PENDING: true if the driver still waits for it. Then guest memory may be written to until
   * {@link endAnswer}, which must follow; otherwise the chain is forgotten.
   */
  protected beginAnswer(index: number, epoch: number): boolean {
    this.state.lock.acquire();
    if (this.state.epoch === epoch && this.#epoch === epoch && this.queues[index] !== undefined) return true;
    this.state.lock.release();
    this.state.endWork();
    return false;
  }

  /** Gives back the chain that begins at `head` of queue `index`, with `written` bytes written into it. */
  protected endAnswer(index: number, head: number, written: number): void {
    const queue = this.queues[index]!;
    queue.giveBack(head, written);
    if (queue.shouldNotify()) this.state.notifyUsed();
    this.state.lock.release();
    this.state.endWork();
  }

  /**
   * Handles one chain of queue `index`: bytes written into it, {@link BLOCKED}, {@link UNFINISHED} or {@link PENDING}.
   * May throw VirtqueueError.
   */
  protected abstract handle(index: number, chain: DescriptorChain): number;

  /** The driver has reset the device or set it up anew: forget what belonged to the time before. */
  protected abstract reset(): void;

  /** What {@link run} does with a queue that is ready: one chain after the other. */
  protected serve(queue: Virtqueue, index: number): boolean {
    // Counts looks at the ring too: a driver that moves its index to and fro does not keep us here.
    for (let budget = queue.size; budget > 0; budget--) {
      if (!queue.peek()) {
        if (queue.enableNotifications()) continue;
        return false;
      }
      const written = this.handle(index, queue.chain);
      if (written === BLOCKED) return false;
      if (written === UNFINISHED) return true;
      if (written === PENDING) {
        queue.take();
        this.state.beginWork();
        continue;
      }
      queue.complete(written);
      if (queue.shouldNotify()) this.state.notifyUsed();
    }
    return true;
  }

  /** Brings the queues up to date with the driver's set-up. False while the device is not live. */
  #sync(): boolean {
    const { state } = this;
    if (state.epoch !== this.#epoch) {
      this.#epoch = state.epoch;
      this.queues = [];
      this.reset();
      if (state.live) {
        this.queues = state.model.queueSizes.map((_, index) =>
          state.words[state.queueBase(index) + Q.READY] === 1
            ? new Virtqueue(state, this.memory, index)
            : undefined,
        );
      }
    }
    return state.live;
  }

  #fail(): void {
    this.queues = [];
    this.state.setNeedsReset();
  }
}

/**
 * Fills `vector` with the host ranges of bytes [skip, skip + take) of the readable or the writable part of a chain.
 * Stops where the vector is full; `vector.bytes` says how far it got.
 */
export function gather(
  vector: IoVector,
  chain: DescriptorChain,
  part: "readable" | "writable",
  skip: number,
  take: number,
): void {
  vector.clear();
  const end = part === "readable" ? chain.readable : chain.count;
  for (let at = part === "readable" ? 0 : chain.readable; at < end && take > 0; at++) {
    const length = chain.length[at]!;
    if (skip >= length) {
      skip -= length;
      continue;
    }
    const usable = Math.min(length - skip, take);
    if (!vector.add(chain.host[at]! + skip, usable)) return;
    take -= usable;
    skip = 0;
  }
}

/** Guest address of byte `offset` of the readable or the writable part of a chain; -1 beyond its end. */
export function byteAddress(chain: DescriptorChain, part: "readable" | "writable", offset: number): number {
  const end = part === "readable" ? chain.readable : chain.count;
  for (let at = part === "readable" ? 0 : chain.readable; at < end; at++) {
    const length = chain.length[at]!;
    if (offset < length) return chain.gpa[at]! + offset;
    offset -= length;
  }
  return -1;
}
