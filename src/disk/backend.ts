import type { IoVector } from "../ffi/iovec.ts";

/** What a block device needs of an image format. Offsets and lengths in bytes, multiples of 512, within `size`. */
export interface BlockBackend {
  readonly size: number;
  /** Each returns 0, or the errno of what failed. The vector's content is undefined afterwards. */
  read(vector: IoVector, offset: number): number;
  write(vector: IoVector, offset: number): number;
  /** What was written before is on stable storage afterwards. */
  flush(): number;
  /** The content may become zeros or stay; the space may go back to the host. */
  discard(offset: number, length: number): number;
  /** The content becomes zeros; with `unmap` the space may go back to the host. */
  writeZeroes(offset: number, length: number, unmap: boolean): number;
  /** Before the files are closed: writes what is still in memory. The disk is not used afterwards. */
  close?(): number;
}
