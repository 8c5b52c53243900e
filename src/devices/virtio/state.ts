/**
 * The shared state of one virtio device: every word that the transport registers, the queues and the configuration space
 * consist of, in one SharedArrayBuffer range. vCPU threads serve the registers from it, the I/O thread the queues.
 */
import { Lock } from "../lock.ts";
import {
  DEVICE_NEEDS_RESET,
  DRIVER_OK,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "./constants.ts";

/** What a device is, before any driver has talked to it. Plain data. */
export interface VirtioModel {
  /** VIRTIO_ID_*. */
  readonly deviceId: number;
  /** Feature bits of the device type; the transport adds those that concern queues. */
  readonly features: readonly number[];
  /** Largest size of each queue, a power of two. */
  readonly queueSizes: readonly number[];
  /** Initial content of the configuration space. */
  readonly config: Uint8Array;
  /** Those of its 32-bit fields that the driver may write; none if left out. */
  readonly writableConfigWords?: readonly number[];
}

/** Word indices. */
export const W = {
  LOCK: 0,
  /** Chains that the device has taken and goes on with, although it does not hold the lock. */
  IN_FLIGHT: 1,
  STATUS: 2,
  DEVICE_FEATURES_SEL: 3,
  DRIVER_FEATURES_SEL: 4,
  DRIVER_FEATURES_LOW: 5,
  DRIVER_FEATURES_HIGH: 6,
  QUEUE_SEL: 7,
  INTERRUPT_STATUS: 8,
  CONFIG_GENERATION: 9,
  /** Counts everything that makes the I/O thread's picture of the queues stale. */
  EPOCH: 10,
  QUEUES: 11,
} as const;

/** Word indices within one queue. */
export const Q = {
  NUM: 0,
  READY: 1,
  DESC_LOW: 2,
  DESC_HIGH: 3,
  DRIVER_LOW: 4,
  DRIVER_HIGH: 5,
  DEVICE_LOW: 6,
  DEVICE_HIGH: 7,
  /** Available ring index up to which the device has taken chains. */
  LAST_AVAIL: 8,
  /** Used ring index that the device writes next. */
  NEXT_USED: 9,
  WORDS: 10,
} as const;

const TRANSPORT_FEATURES = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1];

/** See the head of the file. `interrupt` raises an edge on the device's line; it may be called by any thread. */
export class VirtioState {
  readonly model: VirtioModel;
  readonly words: Int32Array;
  readonly lock: Lock;
  /** The configuration space. */
  readonly config: Uint8Array;
  /** The same as 32-bit fields, which one thread may write while another reads them. */
  readonly configWords: Int32Array;
  /** Bits 0..31 and 32..63 of what the device offers. */
  readonly features: readonly [number, number];
  readonly #interrupt: () => void;

  static bytes(model: VirtioModel): number {
    return (W.QUEUES + model.queueSizes.length * Q.WORDS) * 4 + Math.ceil(model.config.length / 4) * 4;
  }

  constructor(model: VirtioModel, words: Int32Array, interrupt: () => void) {
    this.model = model;
    this.words = words;
    this.lock = new Lock(words, W.LOCK);
    this.#interrupt = interrupt;
    const configOffset = (W.QUEUES + model.queueSizes.length * Q.WORDS) * 4;
    this.config = new Uint8Array(words.buffer, words.byteOffset + configOffset, model.config.length);
    this.configWords = new Int32Array(
      words.buffer,
      this.config.byteOffset,
      Math.ceil(model.config.length / 4),
    );
    const bits: [number, number] = [0, 0];
    for (const bit of [...model.features, ...TRANSPORT_FEATURES])
      bits[bit >> 5 === 0 ? 0 : 1] |= 1 << (bit & 31);
    this.features = [bits[0] >>> 0, bits[1] >>> 0];
  }

  /** Brings fresh state into its power-on condition; once, by whoever makes the machine. */
  initialize(): void {
    this.config.set(this.model.config);
  }

  /** First word of queue `index`. */
  queueBase(index: number): number {
    return W.QUEUES + index * Q.WORDS;
  }

  get epoch(): number {
    return Atomics.load(this.words, W.EPOCH);
  }

  /** Whether the driver has finished set-up and the device may touch the queues. */
  get live(): boolean {
    return (Atomics.load(this.words, W.STATUS) & (DRIVER_OK | DEVICE_NEEDS_RESET)) === DRIVER_OK;
  }

  /** Whether the driver has accepted feature `bit`. */
  negotiated(bit: number): boolean {
    const word = bit < 32 ? W.DRIVER_FEATURES_LOW : W.DRIVER_FEATURES_HIGH;
    return (this.words[word]! & (1 << (bit & 31))) !== 0;
  }

  /** The device has taken a chain, and touches its memory until {@link endWork}. */
  beginWork(): void {
    Atomics.add(this.words, W.IN_FLIGHT, 1);
  }

  endWork(): void {
    if (Atomics.sub(this.words, W.IN_FLIGHT, 1) === 1) Atomics.notify(this.words, W.IN_FLIGHT);
  }

  /** Nothing of the device is at work any more, whatever was begun. */
  abandonWork(): void {
    Atomics.store(this.words, W.IN_FLIGHT, 0);
    Atomics.notify(this.words, W.IN_FLIGHT);
  }

  /** For a thread that does not hold the lock: waits until the device has ended all that it had begun. */
  waitForWork(): void {
    for (;;) {
      const count = Atomics.load(this.words, W.IN_FLIGHT);
      if (count === 0) return;
      Atomics.wait(this.words, W.IN_FLIGHT, count);
    }
  }

  /** Used Buffer Notification, section 2.3. */
  notifyUsed(): void {
    Atomics.or(this.words, W.INTERRUPT_STATUS, INTERRUPT_USED_BUFFER);
    this.#interrupt();
  }

  /** Configuration Change Notification, section 2.3. */
  notifyConfig(): void {
    Atomics.add(this.words, W.CONFIG_GENERATION, 1);
    Atomics.or(this.words, W.INTERRUPT_STATUS, INTERRUPT_CONFIG_CHANGE);
    this.#interrupt();
  }

  /** The driver broke the protocol: the device stops until it is reset (section 2.1.2). */
  setNeedsReset(): void {
    const before = Atomics.or(this.words, W.STATUS, DEVICE_NEEDS_RESET);
    if ((before & DEVICE_NEEDS_RESET) === 0 && (before & DRIVER_OK) !== 0) this.notifyConfig();
  }
}
