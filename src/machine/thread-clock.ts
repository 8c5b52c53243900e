/** How much CPU time, the guest's included, a thread has used for its machine. */
import { SYS_gettid } from "../ffi/constants.ts";
import { clock_gettime, syscall } from "../ffi/libc.ts";

/** Of each thread, in ms of CPU time: what it had used when it began, and in all when it had ended. */
const BEFORE = 0;
const USED = 1;

/** Threads are reused, so what one had used before it began does not count. */
export class ThreadClock {
  /** Times of one thread, in the array given to the constructor. */
  static readonly TIMES = 2;
  readonly #tid: Int32Array;
  readonly #times: Float64Array;

  /** Over shared memory: word 0 of `tid`, and {@link TIMES} of `times`. */
  constructor(tid: Int32Array, times: Float64Array) {
    this.#tid = tid;
    this.#times = times;
  }

  /** Called by the thread itself. */
  start(): void {
    this.#times[BEFORE] = threadCpuTime();
    Atomics.store(this.#tid, 0, syscall(SYS_gettid, 0, 0, 0));
  }

  /** Called by the thread itself. */
  end(): void {
    this.#times[USED] = threadCpuTime() - this.#times[BEFORE]!;
    Atomics.store(this.#tid, 0, 0);
  }

  /** ms so far, or in all; any thread may ask. */
  get used(): number {
    const tid = Atomics.load(this.#tid, 0);
    if (tid !== 0) {
      const now = threadCpuTime(tid);
      if (Atomics.load(this.#tid, 0) === tid) return Math.max(0, now - this.#times[BEFORE]!);
    }
    return this.#times[USED]!;
  }
}

const time = new BigInt64Array(2);

/** ms that thread `tid` of this process has used; the calling thread by default. 0 if it is no more. */
export function threadCpuTime(tid = 0): number {
  if (clock_gettime(cpuClockOf(tid), time) !== 0) return 0;
  return Number(time[0]!) * 1e3 + Number(time[1]!) / 1e6;
}

/** The clock id as pthread_getcpuclockid(3) makes it: CPUCLOCK_PERTHREAD_MASK (4) and CPUCLOCK_SCHED (2) below the number. */
function cpuClockOf(tid: number): number {
  return (~tid << 3) | 4 | 2;
}
