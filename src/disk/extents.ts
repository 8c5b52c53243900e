/** Where the bytes of a guest's request lie: the answer of an image's tables, before any data moves. */
import type { ImageFile } from "./image-file.ts";

/** Bytes of a file, as they are. */
export const DATA = 0;
/** Zeros that are stored nowhere. */
export const ZERO = 1;
/** Bytes within a cluster that has to be unpacked. */
export const COMPRESSED = 2;
export type ExtentKind = typeof DATA | typeof ZERO | typeof COMPRESSED;

/** What unpacks a compressed cluster. */
export interface CompressedSource {
  /**
   * The address of the `length` bytes at `within` of the cluster that the descriptor stands for. Good until the next call.
   * Throws an ImageIoError.
   */
  unpack(descriptorHigh: number, descriptorLow: number, within: number, length: number): number;
}

const CAPACITY = 128;

/** A list of extents, filled anew for each request: parallel arrays, so that nothing is allocated. */
export class ExtentList {
  count = 0;
  readonly kind = new Uint8Array(CAPACITY);
  /** Bytes. */
  readonly length = new Float64Array(CAPACITY);
  /** DATA: where in `file[i]`. COMPRESSED: where in the unpacked cluster. */
  readonly offset = new Float64Array(CAPACITY);
  readonly file: (ImageFile | undefined)[] = new Array<undefined>(CAPACITY).fill(undefined);
  readonly compressed: (CompressedSource | undefined)[] = new Array<undefined>(CAPACITY).fill(undefined);
  readonly descriptorHigh = new Uint32Array(CAPACITY);
  readonly descriptorLow = new Uint32Array(CAPACITY);

  get full(): boolean {
    return this.count === CAPACITY;
  }

  clear(): void {
    this.count = 0;
  }

  /** Whoever adds has asked {@link full} before. An extent that continues the last one makes that longer. */
  addData(file: ImageFile, offset: number, length: number): void {
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.kind[last] === DATA &&
      this.file[last] === file &&
      this.offset[last]! + this.length[last]! === offset
    ) {
      this.length[last]! += length;
      return;
    }
    const at = this.count++;
    this.kind[at] = DATA;
    this.length[at] = length;
    this.offset[at] = offset;
    this.file[at] = file;
  }

  addZero(length: number): void {
    const last = this.count - 1;
    if (last >= 0 && this.kind[last] === ZERO) {
      this.length[last]! += length;
      return;
    }
    const at = this.count++;
    this.kind[at] = ZERO;
    this.length[at] = length;
  }

  addCompressed(source: CompressedSource, high: number, low: number, within: number, length: number): void {
    const at = this.count++;
    this.kind[at] = COMPRESSED;
    this.length[at] = length;
    this.offset[at] = within;
    this.compressed[at] = source;
    this.descriptorHigh[at] = high;
    this.descriptorLow[at] = low;
  }

  /** Whether all of it reads as zeros without looking at any file. */
  isZero(): boolean {
    for (let at = 0; at < this.count; at++) if (this.kind[at] !== ZERO) return false;
    return true;
  }
}
