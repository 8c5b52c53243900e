/**
 * The words through which the main thread and the workers of one machine talk without messages: commands, vCPU states,
 * counters and time stamps.
 */
import { Lock } from "../devices/lock.ts";
import { ThreadClock } from "./thread-clock.ts";

/** What the main thread wants a vCPU to do. A higher one takes the place of a lower one, never the other way round. */
export const VcpuCommand = { Run: 0, Probe: 1, Pause: 2, Stop: 3 } as const;
export type VcpuCommand = (typeof VcpuCommand)[keyof typeof VcpuCommand];

/** What a vCPU is doing. */
export const VcpuState = { Starting: 0, Running: 1, HaltedForGood: 2, Paused: 3, Finished: 4 } as const;
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
  /** 1 from just before KVM_RUN to just after it. */
  IN_GUEST: 10,
  /** Kernel thread id while the thread works for this machine, for its CPU time. */
  CLOCK_TID: 11,
  /** Where the thread has mapped kvm_run, in case that it cannot unmap it. */
  RUN_PAGE_LOW: 12,
  RUN_PAGE_HIGH: 13,
  WORDS: 14,
} as const;

const HEADER = { IO_STOP: 0, ROWS: 1, COLUMNS: 2, MEMORY_LOCK: 3, IO_WANTED: 4, WORDS: 5 } as const;
/** Time stamps in ms of the monotonic clock. */
const T = { FIRST_ENTRY: 0, FIRST_EXIT: 1, COUNT: 2 } as const;
const TIMES_BYTES = T.COUNT * 8;
const THREAD_BYTES = ThreadClock.TIMES * 8 + V.WORDS * 4;

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
  readonly #cpuTimes: Float64Array;
  readonly cpus: number;

  static bytes(cpus: number): number {
    // One thread more than vCPUs: the one for I/O.
    return TIMES_BYTES + HEADER.WORDS * 4 + (cpus + 1) * THREAD_BYTES;
  }

  constructor(buffer: SharedArrayBuffer, offset: number, bytes: number) {
    const threads = (bytes - TIMES_BYTES - HEADER.WORDS * 4) / THREAD_BYTES;
    this.cpus = threads - 1;
    this.#times = new Float64Array(buffer, offset, T.COUNT);
    this.#cpuTimes = new Float64Array(buffer, offset + TIMES_BYTES, threads * ThreadClock.TIMES);
    const words = offset + TIMES_BYTES + this.#cpuTimes.byteLength;
    this.#words = new Int32Array(buffer, words, HEADER.WORDS + threads * V.WORDS);
  }

  /** The words of vCPU `index`, for its loop. */
  vcpu(index: number): VcpuControl {
    return new VcpuControl(this.#threadWords(index), this.#times);
  }

  /** The CPU time of the thread of vCPU `index`. */
  vcpuClock(index: number): ThreadClock {
    const tid = this.#threadWords(index).subarray(V.CLOCK_TID);
    return new ThreadClock(tid, this.#cpuTimes.subarray(index * ThreadClock.TIMES));
  }

  /** The CPU time of the I/O thread. */
  get ioClock(): ThreadClock {
    return this.vcpuClock(this.cpus);
  }

  #threadWords(index: number): Int32Array {
    const start = HEADER.WORDS + index * V.WORDS;
    return this.#words.subarray(start, start + V.WORDS);
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

  /** True for the first caller of all threads: whoever that is has the I/O thread started. */
  claimIoStart(): boolean {
    return Atomics.exchange(this.#words, HEADER.IO_WANTED, 1) === 0;
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

  /** Asks for something, unless something stronger has been asked for. A vCPU in the guest notices once it is kicked. */
  request(command: VcpuCommand): void {
    for (let before = this.command; before < command;) {
      const now = Atomics.compareExchange(this.#words, V.COMMAND, before, command);
      if (now === before) {
        Atomics.notify(this.#words, V.COMMAND);
        return;
      }
      before = now;
    }
  }

  /** Takes back a Pause, and nothing else. */
  resume(): void {
    Atomics.compareExchange(this.#words, V.COMMAND, VcpuCommand.Pause, VcpuCommand.Run);
    Atomics.notify(this.#words, V.COMMAND);
  }

  /** Sleeps while the command is Pause. */
  waitWhilePaused(): void {
    while (this.command === VcpuCommand.Pause) Atomics.wait(this.#words, V.COMMAND, VcpuCommand.Pause);
  }

  /**
   * Whether the thread may be executing guest code. Asked after a command and a kick, `false` is final until that command is
   * taken back: KVM_RUN returns at once while the kick is pending.
   */
  get inGuest(): boolean {
    return Atomics.load(this.#words, V.IN_GUEST) !== 0;
  }

  /** Plain stores, once per exit: KVM has a full barrier of its own before it looks for pending signals. */
  set inGuest(inGuest: boolean) {
    this.#words[V.IN_GUEST] = inGuest ? 1 : 0;
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

  /** Host address of the kvm_run mapping; 0 for none. */
  get runPage(): number {
    return this.#words[V.RUN_PAGE_HIGH]! * 2 ** 32 + (this.#words[V.RUN_PAGE_LOW]! >>> 0);
  }

  set runPage(address: number) {
    this.#words[V.RUN_PAGE_HIGH] = Math.floor(address / 2 ** 32);
    this.#words[V.RUN_PAGE_LOW] = (address % 2 ** 32) | 0;
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
