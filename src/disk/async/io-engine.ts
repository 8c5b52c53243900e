/**
 * Transfers between files and memory that go on while the thread does something else: one ring of io_uring for all disks of
 * a machine.
 */
import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_FSYNC,
  IORING_OP_READV,
  IORING_OP_WRITEV,
  IoUring,
  type Ring,
} from "../../ffi/io-uring.ts";
import type { IoVector } from "../../ffi/iovec.ts";
import { TsvmError } from "../../errors.ts";

/** At most so many operations are under way; the kernel has room for the results of as many. */
const MAX_OPERATIONS = 512;
const RING_ENTRIES = 256;

/** Who waits for an operation. `result` is what the system call would have returned, or -errno. */
export interface Operation {
  finished(result: number): void;
}

export class IoEngine {
  readonly #ring: Ring;
  /** By token; undefined where the token is free. */
  readonly #operations: (Operation | undefined)[] = new Array<undefined>(MAX_OPERATIONS).fill(undefined);
  readonly #freeTokens = Array.from({ length: MAX_OPERATIONS }, (_, token) => token);

  /** Undefined where the kernel has no io_uring, or does not let us have it; then everything is done while it is asked for. */
  static create(): IoEngine | undefined {
    try {
      return new IoEngine(new IoUring(RING_ENTRIES));
    } catch (error) {
      if (error instanceof TsvmError) return undefined;
      throw error;
    }
  }

  constructor(ring: Ring) {
    this.#ring = ring;
  }

  /** Readable, for epoll, while there are results to {@link collect}. */
  get fd(): number {
    return this.#ring.fd;
  }

  /** Operations that can be started now. */
  get room(): number {
    return this.#freeTokens.length;
  }

  /** Each of these wants {@link room}. What they point to must stay until the operation has finished. */
  readv(fd: number, vector: IoVector, offset: number, operation: Operation): void {
    this.#ring.push(IORING_OP_READV, fd, vector.address, vector.count, offset, this.#token(operation));
  }

  writev(fd: number, vector: IoVector, offset: number, operation: Operation): void {
    this.#ring.push(IORING_OP_WRITEV, fd, vector.address, vector.count, offset, this.#token(operation));
  }

  fdatasync(fd: number, operation: Operation): void {
    this.#ring.push(IORING_OP_FSYNC, fd, 0, 0, 0, this.#token(operation), IORING_FSYNC_DATASYNC);
  }

  /**
   * Hands to the kernel what was asked for, and tells of what has finished, also of what a listener asks for meanwhile and is
   * done at once. Afterwards {@link fd} becomes readable with the next result.
   */
  collect(): void {
    do this.#ring.submit();
    while (this.#ring.reap(this.#completed) > 0);
  }

  /** Waits until nothing is under way any more. */
  drain(): void {
    this.collect();
    while (this.#ring.pending > 0) {
      this.#ring.wait();
      this.collect();
    }
  }

  /** After {@link drain}. */
  close(): void {
    this.#ring.close();
  }

  #token(operation: Operation): number {
    const token = this.#freeTokens.pop();
    if (token === undefined) throw new RangeError("more operations than there is room for");
    this.#operations[token] = operation;
    return token;
  }

  readonly #completed = (token: number, result: number): void => {
    const operation = this.#operations[token]!;
    this.#operations[token] = undefined;
    this.#freeTokens.push(token);
    operation.finished(result);
  };
}
