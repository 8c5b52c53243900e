/** What a vsock device has done: counters in shared memory, which the I/O thread writes and any thread reads. */

export const Counter = {
  sentPackets: 0,
  sentBytes: 1,
  receivedPackets: 2,
  receivedBytes: 3,
  connections: 4,
  open: 5,
  refused: 6,
  errors: 7,
} as const;
type CounterName = keyof typeof Counter;
const NAMES = Object.keys(Counter) as CounterName[];

/**
 * Counts since the start of the machine, as the guest sees them: `sentBytes` are payload that it has sent. `connections` have been
 * accepted by the other side, `refused` not; `open` is how many there are now. `errors` are packets that broke the protocol.
 */
export type VsockCounts = Readonly<Record<CounterName, number>>;

export class VsockCounters {
  static readonly BYTES = NAMES.length * 8;
  readonly #values: Float64Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(VsockCounters.BYTES), offset = 0) {
    this.#values = new Float64Array(buffer, offset, NAMES.length);
  }

  add(counter: (typeof Counter)[CounterName], count = 1): void {
    this.#values[counter]! += count;
  }

  get counts(): VsockCounts {
    return Object.fromEntries(NAMES.map((name) => [name, this.#values[Counter[name]]!])) as VsockCounts;
  }
}
