import { EAGAIN, EINTR } from "../../ffi/constants.ts";
import { IoVector } from "../../ffi/iovec.ts";
import { ExtentList, ZERO } from "../extents.ts";
import { type ImageFile, zeroFill } from "../image-file.ts";
import { type DiskRequest, WRITE } from "./disk-request.ts";
import type { IoEngine, Operation } from "./io-engine.ts";

/** One request to read or write as operations of the engine, one for each piece of the file. Reused for the next request. */
export class Transfer<R extends DiskRequest> {
  request: R | undefined;
  /** When it is done: 0, or the first thing that failed. */
  errno = 0;
  /** When it is done: whether the kernel moved less than all of it without saying why, so that it must be done once more. */
  incomplete = false;
  readonly #done: (transfer: Transfer<R>) => void;
  readonly #pieces: Piece[] = [];
  #left = 0;

  constructor(done: (transfer: Transfer<R>) => void) {
    this.#done = done;
  }

  /**
   * Starts one operation for each extent of data; what reads as zeros is filled at once. False, and nothing is under way, where
   * a file wants other memory than this. The extents cover the request and are DATA or ZERO, one at least DATA.
   */
  start(request: R, extents: ExtentList, engine: IoEngine): boolean {
    this.request = request;
    this.errno = 0;
    this.incomplete = false;
    const { vector } = request;
    let count = 0;
    for (let at = 0, skip = 0; at < extents.count; at++) {
      const length = extents.length[at]!;
      const piece = (this.#pieces[count] ??= new Piece(this.#ended));
      const part = extents.count === 1 ? vector : piece.slice(vector, skip, length);
      skip += length;
      if (part === undefined) return false;
      if (extents.kind[at] === ZERO) {
        zeroFill(part);
        continue;
      }
      piece.set(extents.file[at]!, part, extents.offset[at]!, length);
      if (!piece.aligned) return false;
      count += 1;
    }
    this.#left = count;
    const isWrite = request.kind === WRITE;
    for (let at = 0; at < count; at++) this.#pieces[at]!.start(engine, isWrite);
    return true;
  }

  readonly #ended = (errno: number, whole: boolean): void => {
    if (errno !== 0 && this.errno === 0) this.errno = errno;
    if (errno === 0 && !whole) this.incomplete = true;
    this.#left -= 1;
    if (this.#left > 0) return;
    if (this.errno !== 0) this.incomplete = false;
    this.#done(this);
  };
}

class Piece implements Operation {
  readonly #ended: (errno: number, whole: boolean) => void;
  #own: IoVector | undefined;
  #file: ImageFile | undefined;
  #vector: IoVector | undefined;
  #offset = 0;
  #length = 0;
  #isWrite = false;

  constructor(ended: (errno: number, whole: boolean) => void) {
    this.#ended = ended;
  }

  /** Bytes [skip, skip + length) of a vector as one of its own; undefined where that has no room. */
  slice(vector: IoVector, skip: number, length: number): IoVector | undefined {
    this.#own ??= new IoVector(vector.capacity);
    this.#own.clear();
    return this.#own.addSlice(vector, skip, length) ? this.#own : undefined;
  }

  set(file: ImageFile, vector: IoVector, offset: number, length: number): void {
    this.#file = file;
    this.#vector = vector;
    this.#offset = offset;
    this.#length = length;
  }

  get aligned(): boolean {
    return this.#file!.aligned(this.#vector!, this.#offset);
  }

  start(engine: IoEngine, isWrite: boolean): void {
    this.#isWrite = isWrite;
    if (isWrite) engine.writev(this.#file!.fd, this.#vector!, this.#offset, this);
    else engine.readv(this.#file!.fd, this.#vector!, this.#offset, this);
  }

  finished(result: number): void {
    if (result === this.#length) {
      if (this.#isWrite) this.#file!.wroteUpTo(this.#offset + this.#length);
      this.#ended(0, true);
    } else if (result >= 0 || result === -EAGAIN || result === -EINTR) this.#ended(0, false);
    else this.#ended(-result, true);
  }
}
