/**
 * The virtio-mmio transport: the register window of section 4.2.2 (virtio 1.2), version 2, without legacy interface.
 * Queue registers are frozen while their queue is ready, feature bits once FEATURES_OK is set.
 */
import type { BusDevice } from "../bus.ts";
import { DEVICE_NEEDS_RESET, DRIVER_OK, FEATURES_OK } from "./constants.ts";
import { Q, W, type VirtioState } from "./state.ts";

const MAGIC = 0x7472_6976; // "virt"
const VERSION = 2;
const VENDOR = 0x6d76_7374; // "tsvm"

/** Register offsets. */
export const R = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueNumMax: 0x034,
  QueueNum: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMLenLow: 0x0b0,
  SHMBaseHigh: 0x0bc,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;

const QUEUE_REGISTER = new Map<number, number>([
  [R.QueueNum, Q.NUM],
  [R.QueueDescLow, Q.DESC_LOW],
  [R.QueueDescHigh, Q.DESC_HIGH],
  [R.QueueDriverLow, Q.DRIVER_LOW],
  [R.QueueDriverHigh, Q.DRIVER_HIGH],
  [R.QueueDeviceLow, Q.DEVICE_LOW],
  [R.QueueDeviceHigh, Q.DEVICE_HIGH],
]);

export class VirtioMmio implements BusDevice {
  readonly #state: VirtioState;
  readonly #wake: () => void;

  /** `wake` tells the I/O thread that queues have come or gone. */
  constructor(state: VirtioState, wake: () => void) {
    this.#state = state;
    this.#wake = wake;
  }

  read(offset: number, size: number): number {
    if (offset >= R.Config) return this.#readConfig(offset - R.Config, size);
    // Section 4.2.2.2: the driver uses only 32-bit aligned accesses to the registers.
    if (size !== 4) return 0;
    const { words, model, features } = this.#state;
    switch (offset) {
      case R.MagicValue:
        return MAGIC;
      case R.Version:
        return VERSION;
      case R.DeviceID:
        return model.deviceId;
      case R.VendorID:
        return VENDOR;
      case R.DeviceFeatures: {
        const page = words[W.DEVICE_FEATURES_SEL]!;
        return page === 0 ? features[0] : page === 1 ? features[1] : 0;
      }
      case R.QueueNumMax:
        return model.queueSizes[words[W.QUEUE_SEL]! >>> 0] ?? 0;
      case R.QueueReady: {
        const queue = this.#selectedQueue();
        return queue === -1 ? 0 : words[queue + Q.READY]!;
      }
      case R.InterruptStatus:
        return Atomics.load(words, W.INTERRUPT_STATUS);
      case R.Status:
        return Atomics.load(words, W.STATUS);
      case R.ConfigGeneration:
        return Atomics.load(words, W.CONFIG_GENERATION) >>> 0;
      default:
        // No shared memory regions: section 4.2.2 wants all ones for length and base.
        return offset >= R.SHMLenLow && offset <= R.SHMBaseHigh ? 0xffff_ffff : 0;
    }
  }

  write(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset >= R.Config) {
      this.#writeConfig(offset - R.Config, value);
      return;
    }
    const { words } = this.#state;
    switch (offset) {
      case R.InterruptACK:
        Atomics.and(words, W.INTERRUPT_STATUS, ~value);
        return;
      case R.QueueNotify:
        // ioeventfds take the notifications of the queues there are; this is one of a queue there is not.
        return;
      case R.Status:
        this.#writeStatus(value);
        return;
    }
    this.#state.lock.acquire();
    try {
      this.#writeLocked(offset, value);
    } finally {
      this.#state.lock.release();
    }
    // A queue that has been stopped is the driver's again.
    if (offset === R.QueueReady && (value & 1) === 0) this.#state.waitForWork();
  }

  #writeLocked(offset: number, value: number): void {
    const { words } = this.#state;
    switch (offset) {
      case R.DeviceFeaturesSel:
        words[W.DEVICE_FEATURES_SEL] = value;
        return;
      case R.DriverFeaturesSel:
        words[W.DRIVER_FEATURES_SEL] = value;
        return;
      case R.DriverFeatures: {
        const page = words[W.DRIVER_FEATURES_SEL]!;
        if ((words[W.STATUS]! & FEATURES_OK) !== 0 || page < 0 || page > 1) return;
        words[page === 0 ? W.DRIVER_FEATURES_LOW : W.DRIVER_FEATURES_HIGH] = value;
        return;
      }
      case R.QueueSel:
        words[W.QUEUE_SEL] = value;
        return;
      case R.QueueReady:
        this.#writeQueueReady(value);
        return;
    }
    const register = QUEUE_REGISTER.get(offset);
    const queue = this.#selectedQueue();
    if (register === undefined || queue === -1 || words[queue + Q.READY] !== 0) return;
    if ((words[W.STATUS]! & DRIVER_OK) !== 0) return;
    words[queue + register] = value;
  }

  #writeQueueReady(value: number): void {
    const { words, model } = this.#state;
    const queue = this.#selectedQueue();
    if (queue === -1) return;
    const num = words[queue + Q.NUM]! >>> 0;
    const largest = model.queueSizes[words[W.QUEUE_SEL]! >>> 0]!;
    const valid = num > 0 && num <= largest && (num & (num - 1)) === 0;
    const ready = (value & 1) !== 0 && valid ? 1 : 0;
    if (words[queue + Q.READY] === ready) return;
    // After DRIVER_OK a queue may be stopped but none may appear with other addresses.
    if (ready === 1 && (words[W.STATUS]! & DRIVER_OK) !== 0) return;
    words[queue + Q.READY] = ready;
    words[queue + Q.LAST_AVAIL] = 0;
    words[queue + Q.NEXT_USED] = 0;
    Atomics.add(words, W.EPOCH, 1);
  }

  #writeStatus(value: number): void {
    const { words, lock } = this.#state;
    // The I/O thread holds the lock while it takes a chain, and while it gives one back.
    lock.acquire();
    try {
      if (value === 0) this.#reset();
      else if (!this.#advanceStatus(value)) return;
      Atomics.add(words, W.EPOCH, 1);
    } finally {
      lock.release();
    }
    this.#wake();
    // What the device does meanwhile, without the lock, it ends first, and throws away the result.
    if (value === 0) this.#state.waitForWork();
  }

  /**
   * Section 3.1.1: bits are only ever added; FEATURES_OK stays unset if the driver wants what was not offered.
   * Whether there are any new ones.
   */
  #advanceStatus(value: number): boolean {
    const { words, features } = this.#state;
    const current = words[W.STATUS]!;
    let added = value & 0xff & ~current & ~DEVICE_NEEDS_RESET;
    if ((added & FEATURES_OK) !== 0) {
      const low = words[W.DRIVER_FEATURES_LOW]!;
      const high = words[W.DRIVER_FEATURES_HIGH]!;
      const modern = (high & 1) !== 0; // VIRTIO_F_VERSION_1 is bit 32
      if (!modern || (low & ~features[0]) !== 0 || (high & ~features[1]) !== 0) added &= ~FEATURES_OK;
    }
    if (((current | added) & FEATURES_OK) === 0) added &= ~DRIVER_OK;
    Atomics.or(words, W.STATUS, added);
    return added !== 0;
  }

  #reset(): void {
    const { words, model } = this.#state;
    const epoch = words[W.EPOCH]!;
    const generation = words[W.CONFIG_GENERATION]!;
    words.fill(0, W.STATUS, W.QUEUES + model.queueSizes.length * Q.WORDS);
    words[W.EPOCH] = epoch;
    words[W.CONFIG_GENERATION] = generation;
    // What a former driver has said of itself.
    const { configWords } = this.#state;
    const initial = new DataView(model.config.buffer, model.config.byteOffset);
    for (const index of model.writableConfigWords ?? []) {
      Atomics.store(configWords, index, initial.getInt32(index * 4, true));
    }
  }

  /** First word of the selected queue, or -1 where there is no such queue. */
  #selectedQueue(): number {
    const { words, model } = this.#state;
    const index = words[W.QUEUE_SEL]! >>> 0;
    return index < model.queueSizes.length ? this.#state.queueBase(index) : -1;
  }

  /** The fields that drivers may write have 32 bits. */
  #writeConfig(offset: number, value: number): void {
    const { model, configWords } = this.#state;
    if (model.writableConfigWords?.includes(offset / 4) === true)
      Atomics.store(configWords, offset / 4, value);
  }

  #readConfig(offset: number, size: number): number {
    const { config, configWords } = this.#state;
    // Another thread may be writing it.
    if (size === 4 && offset % 4 === 0 && offset + 4 <= config.length) {
      return Atomics.load(configWords, offset / 4) >>> 0;
    }
    let value = 0;
    // Beyond the end of the configuration space reads give zero.
    for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + (config[offset + byte] ?? 0);
    return value;
  }
}
