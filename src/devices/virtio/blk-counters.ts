/** What a block device has done: counters in shared memory, which the I/O thread writes and any thread reads. */

export const Counter = {
  reads: 0,
  readBytes: 1,
  writes: 2,
  writtenBytes: 3,
  flushes: 4,
  discards: 5,
  errors: 6,
  throttled: 7,
} as const;
type CounterName = keyof typeof Counter;
const NAMES = Object.keys(Counter) as CounterName[];

/** Counts since the start of the machine. `discards` also counts requests to write zeroes, `throttled` waits for a rate limit. */
export type DiskCounts = Readonly<Record<CounterName, number>>;

export class BlkCounters {
  static readonly BYTES = NAMES.length * 8;
  readonly #values: Float64Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(BlkCounters.BYTES), offset = 0) {
    this.#values = new Float64Array(buffer, offset, NAMES.length);
  }

  add(counter: (typeof Counter)[CounterName], count = 1): void {
    this.#values[counter]! += count;
  }

  get counts(): DiskCounts {
    return Object.fromEntries(NAMES.map((name) => [name, this.#values[Counter[name]]!])) as DiskCounts;
  }
}
