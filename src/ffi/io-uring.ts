/**
 * io_uring(7) through its three system calls: a queue of requests to the kernel and one of their results, in memory that both
 * share. One thread fills, submits and reaps.
 *
 * Sources: io_uring_setup(2), io_uring_enter(2), include/uapi/linux/io_uring.h.
 */
import {
  EAGAIN,
  EBUSY,
  EINTR,
  EOPNOTSUPP,
  MAP_POPULATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from "./constants.ts";
import { SystemCallError } from "./errno.ts";
import { check, close, errno, io_uring_enter, io_uring_setup, mmap, munmap, view } from "./libc.ts";
import { array, struct, u32, u64 } from "./struct.ts";

export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_FSYNC_DATASYNC = 1;

const IORING_OFF_SQ_RING = 0;
const IORING_OFF_SQES = 0x1000_0000;
const IORING_FEAT_SINGLE_MMAP = 1;
const IORING_FEAT_NODROP = 2;
const IORING_SETUP_CLAMP = 1 << 4;
const IORING_ENTER_GETEVENTS = 1;

const SQE_WORDS = 64 / 4;
const CQE_WORDS = 16 / 4;

export const io_sqring_offsets = struct("io_sqring_offsets", {
  head: u32,
  tail: u32,
  ring_mask: u32,
  ring_entries: u32,
  flags: u32,
  dropped: u32,
  array: u32,
  resv1: u32,
  user_addr: u64,
});
export const io_cqring_offsets = struct("io_cqring_offsets", {
  head: u32,
  tail: u32,
  ring_mask: u32,
  ring_entries: u32,
  overflow: u32,
  cqes: u32,
  flags: u32,
  resv1: u32,
  user_addr: u64,
});
export const io_uring_params = struct("io_uring_params", {
  sq_entries: u32,
  cq_entries: u32,
  flags: u32,
  sq_thread_cpu: u32,
  sq_thread_idle: u32,
  features: u32,
  wq_fd: u32,
  resv: array(u32, 3),
  sq_off: io_sqring_offsets,
  cq_off: io_cqring_offsets,
});

/** Hears of a request that has ended: what it was submitted with, and what the system call would have returned, or -errno. */
export type Completion = (token: number, result: number) => void;

/** What the users of a ring need of it. */
export type Ring = Pick<IoUring, keyof IoUring>;

export class IoUring {
  /** Readable, for epoll, while there are results. */
  readonly fd: number;
  /** Requests that wait for {@link submit}. */
  #queued = 0;
  #inFlight = 0;
  readonly #mappings: { address: number; length: number }[] = [];
  readonly #ring: Int32Array;
  readonly #sqes: Uint32Array;
  readonly #sqTail: number;
  readonly #sqEntries: number;
  readonly #sqMask: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqes: number;

  /**
   * Makes a ring for `entries` requests at a time, rounded up to a power of two.
   * Throws a SystemCallError where the kernel has none, or does not let us (EPERM, ENOSYS).
   */
  constructor(entries: number) {
    const params = io_uring_params.pack({ flags: IORING_SETUP_CLAMP });
    this.fd = check(io_uring_setup(entries, params), "io_uring_setup");
    try {
      const { features, sq_off, cq_off, sq_entries, cq_entries } = io_uring_params.unpack(params);
      const wanted = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP;
      if ((features & wanted) !== wanted) throw new SystemCallError("io_uring_setup", EOPNOTSUPP);
      const ringBytes = Math.max(sq_off.array + 4 * sq_entries, cq_off.cqes + 16 * cq_entries);
      this.#ring = new Int32Array(this.#map(ringBytes, IORING_OFF_SQ_RING));
      this.#sqes = new Uint32Array(this.#map(64 * sq_entries, IORING_OFF_SQES));
      this.#sqTail = sq_off.tail / 4;
      this.#sqEntries = sq_entries;
      this.#sqMask = sq_entries - 1;
      this.#cqHead = cq_off.head / 4;
      this.#cqTail = cq_off.tail / 4;
      this.#cqMask = cq_entries - 1;
      this.#cqes = cq_off.cqes / 4;
      // Slot n always holds request n.
      for (let at = 0; at < sq_entries; at++) this.#ring[sq_off.array / 4 + at] = at;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Requests that the kernel has, or that wait for {@link submit}. */
  get pending(): number {
    return this.#queued + this.#inFlight;
  }

  /**
   * Queues one request. `length` counts bytes, or buffers for the vectored ones. `token` (32 bits) comes back with the result.
   * What `address` points to must stay until then.
   */
  push(
    opcode: number,
    fd: number,
    address: number,
    length: number,
    offset: number,
    token: number,
    opFlags = 0,
  ): void {
    if (this.#queued === this.#sqEntries) this.submit();
    const tail = this.#ring[this.#sqTail]!;
    const at = (tail & this.#sqMask) * SQE_WORDS;
    const sqe = this.#sqes;
    sqe[at] = opcode; // flags and ioprio are 0
    sqe[at + 1] = fd;
    sqe[at + 2] = offset % 2 ** 32;
    sqe[at + 3] = offset / 2 ** 32;
    sqe[at + 4] = address % 2 ** 32;
    sqe[at + 5] = address / 2 ** 32;
    sqe[at + 6] = length;
    sqe[at + 7] = opFlags;
    sqe[at + 8] = token;
    sqe.fill(0, at + 9, at + SQE_WORDS);
    Atomics.store(this.#ring, this.#sqTail, (tail + 1) | 0);
    this.#queued += 1;
  }

  /** Hands what is queued to the kernel. Throws a SystemCallError. */
  submit(): void {
    while (this.#queued > 0) this.#enter(this.#queued, 0);
  }

  /** Submits, and waits until there is at least one result. */
  wait(): void {
    if (this.#ring[this.#cqHead] === Atomics.load(this.#ring, this.#cqTail)) this.#enter(this.#queued, 1);
  }

  /** Takes all results that are there; how many. */
  reap(completion: Completion): number {
    const ring = this.#ring;
    let head = ring[this.#cqHead]!;
    let count = 0;
    while (head !== Atomics.load(ring, this.#cqTail)) {
      const at = this.#cqes + (head & this.#cqMask) * CQE_WORDS;
      const token = ring[at]! >>> 0;
      const result = ring[at + 2]!;
      head = (head + 1) | 0;
      // The slot is the kernel's again before anything that `completion` may submit.
      Atomics.store(ring, this.#cqHead, head);
      this.#inFlight -= 1;
      count += 1;
      completion(token, result);
    }
    return count;
  }

  /** What is in flight goes on, and nobody hears of it: drain the ring first. */
  close(): void {
    for (const { address, length } of this.#mappings.splice(0)) munmap(address, length);
    close(this.fd);
  }

  #map(length: number, offset: number): ArrayBuffer {
    const address = mmap(length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, this.fd, offset);
    this.#mappings.push({ address, length });
    return view(address, length);
  }

  #enter(count: number, atLeast: number): void {
    const flags = atLeast > 0 ? IORING_ENTER_GETEVENTS : 0;
    const taken = io_uring_enter(this.fd, count, atLeast, flags);
    if (taken >= 0) {
      this.#queued -= taken;
      this.#inFlight += taken;
      return;
    }
    const error = errno();
    if (error === EINTR) return;
    // The kernel is short of memory: what is under way gives some back.
    if ((error === EAGAIN || error === EBUSY) && this.#inFlight > 0) return;
    throw new SystemCallError("io_uring_enter", error);
  }
}
