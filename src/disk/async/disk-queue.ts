/**
 * The requests of one disk, as many at a time as its format allows. Reads, and writes to where data is already, go to the
 * {@link IoEngine}, which finishes them in any order; so does what makes a flush wait. All else is done while it is asked for.
 *
 * With a format that has tables, whatever may change them waits until nothing else is under way, and whatever comes later
 * waits for it: see {@link BlockBackend.hasTables}.
 */
import type { BlockBackend } from "../backend.ts";
import { DATA, ExtentList, ZERO } from "../extents.ts";
import { errnoOf } from "../io-error.ts";
import {
  type DiskRange,
  type DiskRequest,
  DISCARD,
  FLUSH,
  READ,
  WRITE,
  WRITE_ZEROES,
} from "./disk-request.ts";
import { FlushOperation } from "./flush-operation.ts";
import type { IoEngine } from "./io-engine.ts";
import { Transfer } from "./transfer.ts";

/** A transfer that lies in more pieces of the file than this is done while it is asked for. */
const MAX_PIECES = 16;

export type DoneListener<R extends DiskRequest> = (request: R) => void;

export class DiskQueue<R extends DiskRequest = DiskRequest> {
  readonly #disk: BlockBackend;
  readonly #engine: IoEngine | undefined;
  readonly #done: DoneListener<R>;
  readonly #extents = new ExtentList();
  /** In the order in which they came; the first one waits for {@link #active} to end. */
  readonly #waiting: R[] = [];
  readonly #freeTransfers: Transfer<R>[] = [];
  /** Requests that the engine works on. */
  #active = 0;
  /** A flush of tables is under way: nothing else is. */
  #flushing = false;

  /** `done` hears of the requests for which {@link start} said false. Without an engine there are none. */
  constructor(disk: BlockBackend, engine: IoEngine | undefined, done: DoneListener<R>) {
    this.#disk = disk;
    this.#engine = engine;
    this.#done = done;
  }

  /** True if the request is done already; otherwise the listener hears of it. */
  start(request: R): boolean {
    if (this.#waiting.length > 0 || this.#flushing) {
      this.#waiting.push(request);
      return false;
    }
    switch (this.#begin(request)) {
      case "done":
        return true;
      case "wait":
        this.#waiting.push(request);
    }
    return false;
  }

  #begin(request: R): "done" | "started" | "wait" {
    request.errno = 0;
    const engine = this.#engine;
    if (engine === undefined) return this.#now(request);
    // Each of its pieces is an operation of its own.
    if (engine.room < MAX_PIECES) return this.#active > 0 ? "wait" : this.#now(request);
    switch (request.kind) {
      case READ:
        return this.#transfer(request, engine) ? "started" : this.#now(request);
      case WRITE:
        return this.#transfer(request, engine) ? "started" : this.#alone(request);
      case FLUSH:
        if (this.#disk.hasTables && this.#active > 0) return "wait";
        return this.#flush(request, engine);
      default:
        return this.#alone(request);
    }
  }

  /** What may change tables, and is done at once. */
  #alone(request: R): "done" | "wait" {
    return this.#disk.hasTables && this.#active > 0 ? "wait" : this.#now(request);
  }

  #now(request: R): "done" {
    request.errno = this.#execute(request);
    return "done";
  }

  #execute({ kind, vector, offset, ranges, unmap }: R): number {
    const disk = this.#disk;
    switch (kind) {
      case READ:
        return disk.read(vector, offset);
      case WRITE:
        return disk.write(vector, offset);
      case FLUSH:
        return disk.flush();
      case DISCARD:
        return firstFailure(ranges, (range) => disk.discard(range.offset, range.length));
      case WRITE_ZEROES:
        return firstFailure(ranges, (range) => disk.writeZeroes(range.offset, range.length, unmap));
    }
  }

  /** Hands a transfer to the engine. False, and nothing has happened, where that cannot be or does not pay. */
  #transfer(request: R, engine: IoEngine): boolean {
    const { vector, offset } = request;
    const length = vector.bytes;
    const extents = this.#extents;
    extents.clear();
    try {
      const isWrite = request.kind === WRITE;
      const mapped = isWrite
        ? this.#disk.mapWrite(offset, length, extents)
        : this.#disk.mapRead(offset, length, extents);
      if (mapped < length || extents.count > MAX_PIECES || !this.#pays(isWrite)) return false;
    } catch (error) {
      // The other way finds the same, and says so.
      errnoOf(error);
      return false;
    }
    const transfer = this.#freeTransfers.pop() ?? new Transfer<R>(this.#transferDone);
    if (!transfer.start(request, extents, engine)) {
      this.#freeTransfers.push(transfer);
      return false;
    }
    this.#active += 1;
    return true;
  }

  /** Whether the engine is the better way for all extents. */
  #pays(isWrite: boolean): boolean {
    const extents = this.#extents;
    let data = 0;
    for (let at = 0; at < extents.count; at++) {
      if (extents.kind[at] === DATA) {
        // Into the page cache is a copy of memory, for which the kernel would wake another thread.
        if (isWrite && extents.file[at]!.directBlock === 0) return false;
        data += 1;
      } else if (extents.kind[at] !== ZERO) return false;
    }
    return data > 0;
  }

  /** A flush of one file may go beside other requests. */
  #flush(request: R, engine: IoEngine): "done" | "started" {
    const flush = new FlushOperation(this.#disk.flushSteps(), engine, (errno) => {
      request.errno = errno;
      this.#flushing = false;
      this.#ended(request);
    });
    if (flush.start()) {
      request.errno = flush.errno;
      return "done";
    }
    this.#flushing = this.#disk.hasTables;
    this.#active += 1;
    return "started";
  }

  readonly #transferDone = (transfer: Transfer<R>): void => {
    const request = transfer.request!;
    if (transfer.incomplete) this.#now(request);
    else request.errno = transfer.errno;
    this.#freeTransfers.push(transfer);
    this.#ended(request);
  };

  #ended(request: R): void {
    this.#active -= 1;
    this.#done(request);
    while (this.#waiting.length > 0 && !this.#flushing) {
      const next = this.#waiting[0]!;
      const state = this.#begin(next);
      if (state === "wait") return;
      this.#waiting.shift();
      if (state === "done") this.#done(next);
    }
  }
}

function firstFailure(ranges: readonly DiskRange[], action: (range: DiskRange) => number): number {
  for (const range of ranges) {
    const errno = action(range);
    if (errno !== 0) return errno;
  }
  return 0;
}
