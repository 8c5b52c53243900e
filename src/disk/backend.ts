import type { IoVector } from "../ffi/iovec.ts";
import type { ExtentList } from "./extents.ts";
import type { ImageFile } from "./image-file.ts";

/** What a block device needs of an image format. Offsets and lengths in bytes, multiples of 512, within `size`. */
export interface BlockBackend {
  readonly size: number;
  /**
   * Whether there are tables that say where the data is. All but reads, and writes to where {@link mapWrite} says, may change
   * them: nothing that was mapped before may be under way meanwhile.
   */
  readonly hasTables: boolean;
  /** Each returns 0, or the errno of what failed. The vector's content is undefined afterwards. */
  read(vector: IoVector, offset: number): number;
  write(vector: IoVector, offset: number): number;
  /** What was written before is on stable storage afterwards. */
  flush(): number;
  /**
   * {@link flush} for a caller that does not wait: each file that it yields is to be brought to stable storage, or the errno
   * thrown in as an ImageIoError, before it goes on. Throws an ImageIoError.
   */
  flushSteps(): Generator<ImageFile, void, undefined>;
  /** The content may become zeros or stay; the space may go back to the host. */
  discard(offset: number, length: number): number;
  /** The content becomes zeros; with `unmap` the space may go back to the host. */
  writeZeroes(offset: number, length: number, unmap: boolean): number;
  /**
   * Appends to `extents` where the bytes of [offset, offset + length) are, for a caller that moves the data itself, as far as
   * there is room. Returns for how many bytes. Throws an ImageIoError.
   */
  mapRead(offset: number, length: number, extents: ExtentList): number;
  /** The same for bytes that can be written there without a change of any table; what is missing needs {@link write}. */
  mapWrite(offset: number, length: number, extents: ExtentList): number;
  /** Before the files are closed: writes what is still in memory. The disk is not used afterwards. */
  close?(): number;
}
