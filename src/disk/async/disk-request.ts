import { IoVector } from "../../ffi/iovec.ts";

export const READ = 0;
export const WRITE = 1;
export const FLUSH = 2;
export const DISCARD = 3;
export const WRITE_ZEROES = 4;
export type RequestKind = typeof READ | typeof WRITE | typeof FLUSH | typeof DISCARD | typeof WRITE_ZEROES;

export interface DiskRange {
  readonly offset: number;
  readonly length: number;
}

const NO_RANGES: readonly DiskRange[] = [];

/** One request of a guest to its disk; reused for the next one when it is done. */
export class DiskRequest {
  kind: RequestKind = READ;
  /** READ and WRITE: where on the disk, in bytes. */
  offset = 0;
  /** DISCARD and WRITE_ZEROES: what of the disk, in bytes. */
  ranges: readonly DiskRange[] = NO_RANGES;
  /** WRITE_ZEROES: the space may go back to the host. */
  unmap = false;
  /** READ and WRITE: the memory. Undefined content when the request is done. */
  readonly vector: IoVector;
  /** When it is done: 0, or what failed. */
  errno = 0;

  /** `buffers`: how many the vector has room for. */
  constructor(buffers: number) {
    this.vector = new IoVector(buffers);
  }
}
