/** Compressed clusters: read, unpacked, and the last few kept, since a guest reads a cluster in several requests. */
import { constants, inflateRawSync } from "node:zlib";
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import { DiskError } from "../errors.ts";
import type { CompressedSource } from "../extents.ts";
import type { ImageFile } from "../image-file.ts";
import { CorruptImageError } from "../io-error.ts";
import { decodeCompressed, SECTOR } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { loadZstd } from "./zstd.ts";

const CACHE_BYTES = 2 ** 22;
const MAX_SLOTS = 64;

/** Unpacks `length` bytes at `start` of `packed` to all of `size` bytes at `at` of `unpacked`. False if they are damaged. */
type Unpack = (
  packed: NativeBuffer,
  start: number,
  length: number,
  unpacked: NativeBuffer,
  at: number,
  size: number,
) => boolean;

export class CompressedClusters implements CompressedSource {
  readonly #file: ImageFile;
  readonly #clusterBits: number;
  readonly #clusterSize: number;
  readonly #unpack: Unpack;
  readonly #range = { offset: 0, bytes: 0 };
  readonly #high: Float64Array;
  readonly #low: Float64Array;
  #next = 0;
  #packed: NativeBuffer | undefined;
  #unpacked: NativeBuffer | undefined;

  /** Throws a DiskError if this host cannot unpack the image's clusters. */
  constructor(file: ImageFile, header: Qcow2Header) {
    this.#file = file;
    this.#clusterBits = header.clusterBits;
    this.#clusterSize = header.clusterSize;
    this.#unpack = header.compression === "zlib" ? inflate : unpackerOfZstd(file.path);
    const slots = Math.min(MAX_SLOTS, Math.max(2, CACHE_BYTES / header.clusterSize));
    this.#high = new Float64Array(slots).fill(-1);
    this.#low = new Float64Array(slots);
  }

  unpack(high: number, low: number, within: number): number {
    this.#packed ??= allocateNative(2 * this.#clusterSize);
    this.#unpacked ??= allocateNative(this.#high.length * this.#clusterSize);
    return this.#unpacked.address + this.#slotOf(high, low) * this.#clusterSize + within;
  }

  #slotOf(high: number, low: number): number {
    const slots = this.#high.length;
    for (let slot = 0; slot < slots; slot++) {
      if (this.#low[slot] === low && this.#high[slot] === high) return slot;
    }
    const slot = this.#next;
    this.#next = (slot + 1) % slots;
    this.#high[slot] = -1; // in case of an error
    this.#fill(slot, high, low);
    this.#high[slot] = high;
    this.#low[slot] = low;
    return slot;
  }

  #fill(slot: number, high: number, low: number): void {
    const { offset, bytes } = decodeCompressed(high, low, this.#clusterBits, this.#range);
    const file = this.#file;
    if (offset >= file.size) {
      throw new CorruptImageError(file.path, `a compressed cluster at ${offset}, behind the end of the file`);
    }
    const packed = this.#packed!;
    const skip = offset % SECTOR;
    file.read(packed.address, skip + bytes, offset - skip);
    const size = this.#clusterSize;
    if (!this.#unpack(packed, skip, bytes, this.#unpacked!, slot * size, size)) {
      throw new CorruptImageError(file.path, `the compressed cluster at ${offset} cannot be unpacked`);
    }
  }
}

const inflate: Unpack = (packed, start, length, unpacked, at, size) => {
  let output: Uint8Array;
  try {
    output = inflateRawSync(new Uint8Array(packed.buffer, start, length), {
      maxOutputLength: size,
      // The stream ends before the last sector does.
      finishFlush: constants.Z_SYNC_FLUSH,
    });
  } catch {
    return false;
  }
  if (output.length !== size) return false;
  new Uint8Array(unpacked.buffer, at, size).set(output);
  return true;
};

function unpackerOfZstd(path: string): Unpack {
  const zstd = loadZstd();
  if (zstd === undefined) {
    throw new DiskError(
      path,
      "its clusters are compressed with zstd, and libzstd.so.1 is missing on this host",
      "install it (Debian: apt-get install libzstd1), or convert the image: tsvm image convert OLD NEW.qcow2",
    );
  }
  return (packed, start, length, unpacked, at, size) =>
    zstd.unpack(unpacked.address + at, size, packed.address + start, length);
}
