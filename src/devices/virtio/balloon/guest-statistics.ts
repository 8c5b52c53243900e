/**
 * What the guest says of its memory (virtio 1.2, section 5.5.6.3), in shared memory: the I/O thread writes it, any thread reads it
 * and may ask for it anew. All of it is the guest's word, and nothing here depends on it.
 */

/** By their tags, VIRTIO_BALLOON_S_*: the specification's from `swapIn` to `hugePageFailures`, Linux's after that. */
const NAMES = [
  "swapIn",
  "swapOut",
  "majorFaults",
  "minorFaults",
  "free",
  "total",
  "available",
  "caches",
  "hugePageAllocations",
  "hugePageFailures",
  "oomKills",
  "allocationStalls",
  "asyncScans",
  "directScans",
  "asyncReclaims",
  "directReclaims",
] as const;

/** In bytes: swapIn, swapOut, free, total, available, caches; the others are counts. Which of them there are is up to the guest. */
export type GuestMemoryFigures = Partial<Record<(typeof NAMES)[number], number>>;

/** struct virtio_balloon_stat { le16 tag; le64 val; }, packed. */
export const STATISTIC_BYTES = 10;
/** Whoever sends more does not mean it. */
export const MOST_STATISTICS = 64;

const REQUEST_WORD = 0;
const TIME = 1;
const VALUES = 2;

export class GuestStatistics {
  static readonly BYTES = (VALUES + NAMES.length) * 8;
  readonly #request: Int32Array;
  readonly #numbers: Float64Array;
  readonly #received = new Float64Array(NAMES.length);

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(GuestStatistics.BYTES), offset = 0) {
    this.#request = new Int32Array(buffer, offset, 1);
    this.#numbers = new Float64Array(buffer, offset, VALUES + NAMES.length);
  }

  /** Has the device ask for new ones when it looks next. */
  request(): void {
    Atomics.store(this.#request, REQUEST_WORD, 1);
  }

  /** Whether somebody has asked; the question is taken by that. */
  takeRequest(): boolean {
    return Atomics.exchange(this.#request, REQUEST_WORD, 0) === 1;
  }

  /** Takes what the driver has sent, at `now` ms of the monotonic clock. */
  receive(bytes: DataView, now: number): void {
    const values = this.#received.fill(NaN);
    for (let at = 0; at + STATISTIC_BYTES <= bytes.byteLength; at += STATISTIC_BYTES) {
      const tag = bytes.getUint16(at, true);
      if (tag >= values.length) continue;
      values[tag] = bytes.getUint32(at + 6, true) * 2 ** 32 + bytes.getUint32(at + 2, true);
    }
    this.#numbers.set(values, VALUES);
    this.#numbers[TIME] = now;
  }

  /** The driver that has told them is gone. */
  clear(): void {
    this.#numbers[TIME] = 0;
  }

  /** The last ones and when they came, in ms of the monotonic clock; undefined before the first. */
  get latest(): { at: number; figures: GuestMemoryFigures } | undefined {
    const at = this.#numbers[TIME]!;
    if (at === 0) return undefined;
    const figures: GuestMemoryFigures = {};
    for (const [tag, name] of NAMES.entries()) {
      const value = this.#numbers[VALUES + tag]!;
      if (!Number.isNaN(value)) figures[name] = value;
    }
    return { at, figures };
  }
}
