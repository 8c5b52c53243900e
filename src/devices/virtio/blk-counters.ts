/** What a block device has done, in shared memory: the I/O thread counts, any thread reads. */
import { defineCounters, type CountersOf, type CountsOf } from "../counters.ts";
import { LatencyHistogram, type LatencyCounts } from "../histogram.ts";

const REQUEST_COUNTERS = defineCounters(
  "reads",
  "readBytes",
  "writes",
  "writtenBytes",
  "flushes",
  // Requests to write zeroes, too.
  "discards",
  "errors",
  // Waits for a rate limit.
  "throttled",
);

export const { numbers: Counter } = REQUEST_COUNTERS;

/** In the order of the kinds of requests (READ, WRITE, FLUSH, DISCARD); writing zeroes counts as discarding. */
const LATENCIES = ["read", "write", "flush", "discard"] as const;

/** Counts since the start of the machine. `discards` also counts requests to write zeroes, `throttled` waits for a rate limit. */
export type DiskCounts = CountsOf<typeof REQUEST_COUNTERS>;

/** How long requests have taken, from when the device took them to when the guest had the answer. */
export type DiskLatency = Readonly<Record<(typeof LATENCIES)[number], LatencyCounts>>;

export class BlkCounters {
  static readonly BYTES = REQUEST_COUNTERS.bytes + LATENCIES.length * LatencyHistogram.BYTES;
  readonly #counters: CountersOf<typeof REQUEST_COUNTERS>;
  readonly #latencies: readonly LatencyHistogram[];

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(BlkCounters.BYTES), offset = 0) {
    this.#counters = REQUEST_COUNTERS.over(buffer, offset);
    const start = offset + REQUEST_COUNTERS.bytes;
    this.#latencies = LATENCIES.map(
      (_, index) => new LatencyHistogram(buffer, start + index * LatencyHistogram.BYTES),
    );
  }

  add(counter: number, count = 1): void {
    this.#counters.add(counter, count);
  }

  /** A request of this kind has taken so many ms. */
  took(kind: number, ms: number): void {
    this.#latencies[Math.min(kind, LATENCIES.length - 1)]!.record(ms);
  }

  get counts(): DiskCounts {
    return this.#counters.counts;
  }

  get latency(): DiskLatency {
    return Object.fromEntries(
      LATENCIES.map((name, index) => [name, this.#latencies[index]!.counts]),
    ) as DiskLatency;
  }
}
