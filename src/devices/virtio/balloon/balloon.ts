/**
 * Memory balloon, virtio 1.2 section 5.5: pages that the guest puts into the balloon, and free pages that it reports, go back to
 * the host. They stay part of the guest's RAM: whoever touches them finds zeros, and the host gives a page anew.
 */
import { memcpy } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import type { GuestMemory } from "../../../kvm/guest-memory.ts";
import { BLOCKED, UNFINISHED, VirtioBackend } from "../backend.ts";
import { VIRTIO_ID_BALLOON } from "../constants.ts";
import type { DescriptorChain } from "../queue.ts";
import type { VirtioModel, VirtioState } from "../state.ts";
import { BalloonCounter, balloonCounters, type BalloonCounters } from "./balloon-counters.ts";
import { GuestStatistics, MOST_STATISTICS, STATISTIC_BYTES } from "./guest-statistics.ts";
import { forEachRun, PAGE } from "./page-runs.ts";

export const VIRTIO_BALLOON_F_STATS_VQ = 1;
export const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2;
export const VIRTIO_BALLOON_F_PAGE_REPORTING = 5;

export const INFLATE_QUEUE = 0;
export const DEFLATE_QUEUE = 1;
export const STATS_QUEUE = 2;
/** Where Linux has the reporting queue, which does not count a queue that is not there (3, free page hints); and the specification. */
export const REPORTING_QUEUE = 3;
export const REPORTING_QUEUE_OF_SPECIFICATION = 4;

/** Linux has one request under way in each; it wants room for 32 ranges in the last. */
const QUEUE_SIZES = [16, 16, 4];
const REPORTING_QUEUE_SIZE = 32;

/** struct virtio_balloon_config: le32 num_pages, le32 actual, as words. */
export const NUM_PAGES_WORD = 0;
export const ACTUAL_WORD = 1;
const CONFIG_BYTES = 8;

/** What is done in one turn: Linux names 256 pages at a time, and reports up to 128 MiB. The host is quick with neighbours. */
const PAGES_PER_TURN = 256;
const REPORTED_PER_TURN = 32 * 2 ** 20;
const PAGE_NUMBER_BYTES = 4;

export interface BalloonModelOptions {
  /** Pages that the guest is to give up from the start. */
  readonly pages: number;
  readonly reporting: boolean;
  readonly deflateOnOom: boolean;
}

export function balloonModel({ pages, reporting, deflateOnOom }: BalloonModelOptions): VirtioModel {
  const config = new Uint8Array(CONFIG_BYTES);
  new DataView(config.buffer).setUint32(NUM_PAGES_WORD * 4, pages, true);
  return {
    deviceId: VIRTIO_ID_BALLOON,
    features: [
      VIRTIO_BALLOON_F_STATS_VQ,
      ...(deflateOnOom ? [VIRTIO_BALLOON_F_DEFLATE_ON_OOM] : []),
      ...(reporting ? [VIRTIO_BALLOON_F_PAGE_REPORTING] : []),
    ],
    queueSizes: [...QUEUE_SIZES, ...(reporting ? [REPORTING_QUEUE_SIZE, REPORTING_QUEUE_SIZE] : [])],
    config,
    writableConfigWords: [ACTUAL_WORD],
  };
}

/** What surrounds the device; each may be left out. */
export interface BalloonSurroundings {
  readonly counters?: BalloonCounters;
  readonly statistics?: GuestStatistics;
  /** ms of a monotonic clock. */
  readonly now?: () => number;
}

export class VirtioBalloon extends VirtioBackend {
  readonly #counters: BalloonCounters;
  readonly #statistics: GuestStatistics;
  readonly #now: () => number;
  readonly #buffer = allocateNative(
    Math.max(PAGES_PER_TURN * PAGE_NUMBER_BYTES, MOST_STATISTICS * STATISTIC_BYTES),
  );
  readonly #pages = new Uint32Array(this.#buffer.buffer);
  /** Bytes of the chain at the head of each queue that have been dealt with. */
  readonly #done: number[];
  /** The driver's statistics have been read, and their buffer waits for the next question. */
  #statisticsHeld = false;
  readonly #takeRun = (first: number, count: number): void => this.#take(first * PAGE, count * PAGE);

  constructor(state: VirtioState, memory: GuestMemory, surroundings: BalloonSurroundings = {}) {
    super(state, memory);
    const { counters = balloonCounters(), statistics = new GuestStatistics(), now = () => 0 } = surroundings;
    this.#counters = counters;
    this.#statistics = statistics;
    this.#now = now;
    this.#done = state.model.queueSizes.map(() => 0);
  }

  protected override handle(index: number, chain: DescriptorChain): number {
    if (index === INFLATE_QUEUE) return this.#inflate(chain);
    if (index === DEFLATE_QUEUE) return this.#deflate(chain);
    // Linux does not count the statistics queue either, if it does not want it.
    if (index === STATS_QUEUE && this.state.negotiated(VIRTIO_BALLOON_F_STATS_VQ)) return this.#hear(chain);
    return this.state.negotiated(VIRTIO_BALLOON_F_PAGE_REPORTING) ? this.#takeReported(index, chain) : 0;
  }

  protected override reset(): void {
    this.#done.fill(0);
    this.#statisticsHeld = false;
    this.#statistics.clear();
  }

  /** A list of page numbers, le32 each. */
  #inflate(chain: DescriptorChain): number {
    const done = this.#done[INFLATE_QUEUE]!;
    const bytes = this.#copy(chain, done, PAGES_PER_TURN * PAGE_NUMBER_BYTES);
    const count = Math.floor(bytes / PAGE_NUMBER_BYTES);
    this.#counters.add(BalloonCounter.inflatedBytes, count * PAGE);
    forEachRun(this.#pages.subarray(0, count), this.#takeRun);
    if (chain.readableBytes - done - bytes >= PAGE_NUMBER_BYTES) {
      this.#done[INFLATE_QUEUE] = done + bytes;
      return UNFINISHED;
    }
    this.#done[INFLATE_QUEUE] = 0;
    return 0;
  }

  /** Nothing to be done: a page comes when it is touched. */
  #deflate(chain: DescriptorChain): number {
    this.#counters.add(
      BalloonCounter.deflatedBytes,
      Math.floor(chain.readableBytes / PAGE_NUMBER_BYTES) * PAGE,
    );
    return 0;
  }

  /** Section 5.5.6.3: the driver sends its figures, and new ones whenever it gets the buffer back. */
  #hear(chain: DescriptorChain): number {
    if (!this.#statisticsHeld) {
      const bytes = this.#copy(chain, 0, MOST_STATISTICS * STATISTIC_BYTES);
      this.#statistics.takeRequest();
      this.#statistics.receive(new DataView(this.#buffer.buffer, 0, bytes), this.#now());
      this.#statisticsHeld = true;
    }
    if (!this.#statistics.takeRequest()) return BLOCKED;
    this.#statisticsHeld = false;
    return 0;
  }

  /** Section 5.5.6.7: each buffer of the chain is free memory. */
  #takeReported(index: number, chain: DescriptorChain): number {
    let skip = this.#done[index]!;
    let budget = REPORTED_PER_TURN;
    for (let at = chain.readable; at < chain.count; at++) {
      const length = chain.length[at]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const gpa = chain.gpa[at]!;
      // Of a page that is only partly free nothing is taken.
      const start = Math.max(Math.ceil(gpa / PAGE) * PAGE, Math.floor((gpa + skip) / PAGE) * PAGE);
      const end = Math.floor((gpa + length) / PAGE) * PAGE;
      const taken = Math.min(end - start, budget);
      if (taken > 0) {
        this.#counters.add(BalloonCounter.reportedBytes, taken);
        this.#take(start, taken);
        budget -= taken;
      }
      if (start + taken < end) {
        this.#done[index]! += start + taken - (gpa + skip);
        return UNFINISHED;
      }
      this.#done[index]! += length - skip;
      skip = 0;
    }
    this.#done[index] = 0;
    return 0;
  }

  #take(gpa: number, bytes: number): void {
    const discarded = this.memory.discard(gpa, bytes);
    if (discarded < bytes) this.#counters.add(BalloonCounter.errors, (bytes - Math.max(discarded, 0)) / PAGE);
  }

  /** Copies up to `most` bytes of the readable part from `skip` on into the buffer, where the guest cannot change them. */
  #copy(chain: DescriptorChain, skip: number, most: number): number {
    let copied = 0;
    for (let at = 0; at < chain.readable && copied < most; at++) {
      const length = chain.length[at]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const bytes = Math.min(length - skip, most - copied);
      memcpy(this.#buffer.address + copied, chain.host[at]! + skip, bytes);
      copied += bytes;
      skip = 0;
    }
    return copied;
  }
}
