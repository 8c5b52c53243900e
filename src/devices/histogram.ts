/** How long things have taken: a histogram in shared memory, which one thread adds to and any thread reads. */

/** Bucket n holds what took less than 2^n µs, and no less than half of that; the last one all the rest. */
export const LATENCY_BUCKETS = 26;

/** What took how long, since the start of the machine. */
export interface LatencyCounts {
  readonly count: number;
  /** ms of all together. */
  readonly sum: number;
  /** 26 counts. Number n: how many took less than 2^n µs, and no less than 2^(n-1) µs; the last one: all that took longer. */
  readonly buckets: readonly number[];
}

export class LatencyHistogram {
  static readonly BYTES = (1 + LATENCY_BUCKETS) * 8;
  /** The sum, then the buckets. Doubles, so that they count beyond 2^32. */
  readonly #values: Float64Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(LatencyHistogram.BYTES), offset = 0) {
    this.#values = new Float64Array(buffer, offset, 1 + LATENCY_BUCKETS);
  }

  /** Adds one that took so many ms. */
  record(ms: number): void {
    const microseconds = ms * 1000;
    const bucket =
      microseconds < 2 ** (LATENCY_BUCKETS - 2) ? 32 - Math.clz32(microseconds) : LATENCY_BUCKETS - 1;
    this.#values[0]! += ms;
    this.#values[1 + bucket]! += 1;
  }

  get counts(): LatencyCounts {
    const [sum = 0, ...buckets] = this.#values;
    return { count: buckets.reduce((total, one) => total + one, 0), sum, buckets };
  }
}
