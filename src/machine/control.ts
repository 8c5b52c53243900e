/**
 * The words through which the main thread and the workers of one machine talk without messages: commands, vCPU states,
 * counters and time stamps.
 */
import { Lock } from "../devices/lock.ts";

/** What the main thread wants a vCPU to do. */
export const VcpuCommand = { Run: 0, Probe: 1, Stop: 2 } as const;

/** What a vCPU is doing. */
export const VcpuState = { Starting: 0, Running: 1, HaltedForGood: 2, Finished: 3 } as const;
export type VcpuState = (typeof VcpuState)[keyof typeof VcpuState];

const V = {
  COMMAND: 0,
  STATE: 1,
  TID: 2,
  EXITS_IO: 3,
  EXITS_MMIO: 4,
  EXITS_ASSIST: 5,
  EXITS_INTERRUPTED: 6,
  PROBES: 7,
  RIP_LOW: 8,
  RIP_HIGH: 9,
  WORDS: 10,
} as const;

const HEADER = { IO_STOP: 0, ROWS: 1, COLUMNS: 2, MEMORY_LOCK: 3, WORDS: 4 } as const;
/** Time stamps in ms of the monotonic clock. */
const T = { FIRST_ENTRY: 0, FIRST_EXIT: 1, COUNT: 2 } as const;
const TIMES_BYTES = T.COUNT * 8;

/** Counts of exits to user space since the start; they wrap at 2^32. */
export interface ExitCounts {
  io: number;
  mmio: number;
  /** Instructions completed by tsvm on a software KVM. */
  assist: number;
  interrupted: number;
}

export class ControlBlock {
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly cpus: number;

  static bytes(cpus: number): number {
    return TIMES_BYTES + (HEADER.WORDS + cpus * V.WORDS) * 4;
  }

  constructor(buffer: SharedArrayBuffer, offset: number, bytes: number) {
    this.#times = new Float64Array(buffer, offset, T.COUNT);
    this.#words = new Int32Array(buffer, offset + TIMES_BYTES, (bytes - TIMES_BYTES) / 4);
    this.cpus = (this.#words.length - HEADER.WORDS) / V.WORDS;
  }

  /** The words of vCPU `index`, for its loop. */
  vcpu(index: number): VcpuControl {
    const start = HEADER.WORDS + index * V.WORDS;
    return new VcpuControl(this.#words.subarray(start, start + V.WORDS), this.#times);
  }

  /** Held by a vCPU that completes a locked instruction in pieces. */
  get memoryLock(): Lock {
    return new Lock(this.#words, HEADER.MEMORY_LOCK);
  }

  get ioStop(): boolean {
    return Atomics.load(this.#words, HEADER.IO_STOP) !== 0;
  }

  requestIoStop(): void {
    Atomics.store(this.#words, HEADER.IO_STOP, 1);
  }

  get windowSize(): { rows: number; columns: number } {
    return {
      rows: Atomics.load(this.#words, HEADER.ROWS),
      columns: Atomics.load(this.#words, HEADER.COLUMNS),
    };
  }

  set windowSize({ rows, columns }: { rows: number; columns: number }) {
    Atomics.store(this.#words, HEADER.ROWS, rows);
    Atomics.store(this.#words, HEADER.COLUMNS, columns);
  }

  /** ms of the monotonic clock; 0 while it has not happened. */
  get firstEntry(): number {
    return this.#times[T.FIRST_ENTRY]!;
  }

  get firstExit(): number {
    return this.#times[T.FIRST_EXIT]!;
  }

  get exits(): ExitCounts {
    const sum: ExitCounts = { io: 0, mmio: 0, assist: 0, interrupted: 0 };
    for (let index = 0; index < this.cpus; index++) this.vcpu(index).addExits(sum);
    return sum;
  }
}

/** One vCPU's words. */
export class VcpuControl {
  readonly #words: Int32Array;
  readonly #times: Float64Array;

  constructor(words: Int32Array, times: Float64Array) {
    this.#words = words;
    this.#times = times;
  }

  get command(): number {
    return Atomics.load(this.#words, V.COMMAND);
  }

  /** Asks for something; a Stop is never taken back. */
  request(command: number): void {
    const before = Atomics.exchange(this.#words, V.COMMAND, command);
    if (before === VcpuCommand.Stop) Atomics.store(this.#words, V.COMMAND, VcpuCommand.Stop);
  }

  /** Answers a probe: what the vCPU is doing, and where. */
  acknowledgeProbe(state: VcpuState, rip: bigint): void {
    this.state = state;
    this.#words[V.RIP_LOW] = Number(rip & 0xffff_ffffn);
    this.#words[V.RIP_HIGH] = Number(rip >> 32n);
    Atomics.compareExchange(this.#words, V.COMMAND, VcpuCommand.Probe, VcpuCommand.Run);
    Atomics.add(this.#words, V.PROBES, 1);
  }

  /** Instruction pointer at the last probe. */
  get rip(): bigint {
    return (BigInt(this.#words[V.RIP_HIGH]! >>> 0) << 32n) | BigInt(this.#words[V.RIP_LOW]! >>> 0);
  }

  get probes(): number {
    return Atomics.load(this.#words, V.PROBES);
  }

  get state(): VcpuState {
    return Atomics.load(this.#words, V.STATE) as VcpuState;
  }

  set state(state: VcpuState) {
    Atomics.store(this.#words, V.STATE, state);
  }

  /** Kernel thread id, 0 before the thread can take a kick. */
  get tid(): number {
    return Atomics.load(this.#words, V.TID);
  }

  set tid(tid: number) {
    Atomics.store(this.#words, V.TID, tid);
  }

  markFirstEntry(now: number): void {
    this.#times[T.FIRST_ENTRY] = now;
  }

  markFirstExit(now: number): void {
    this.#times[T.FIRST_EXIT] = now;
  }

  countIo(): void {
    this.#words[V.EXITS_IO]! += 1;
  }

  countMmio(): void {
    this.#words[V.EXITS_MMIO]! += 1;
  }

  countAssist(): void {
    this.#words[V.EXITS_ASSIST]! += 1;
  }

  countInterrupted(): void {
    this.#words[V.EXITS_INTERRUPTED]! += 1;
  }

  addExits(sum: ExitCounts): void {
    sum.io += this.#words[V.EXITS_IO]! >>> 0;
    sum.mmio += this.#words[V.EXITS_MMIO]! >>> 0;
    sum.assist += this.#words[V.EXITS_ASSIST]! >>> 0;
    sum.interrupted += this.#words[V.EXITS_INTERRUPTED]! >>> 0;
  }
}
