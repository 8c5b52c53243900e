/**
 * How partition tables and file systems read an image: by exact ranges, checked against the size, small ones through a cache.
 * Nothing on an image is trusted, so a range beyond the end is an error of the image and says so.
 */
import { FilesystemError } from "../filesystem/errors.ts";
import type { BlockSource } from "./block-source.ts";

/** A range of an image. What it returns may be shared with a cache: read it, never write to it. */
export interface BlockReader {
  /** What errors call it, such as `debian.qcow2:2`. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Exactly `length` bytes. @throws {FilesystemError} if the range does not lie within `size`. */
  bytes(offset: number, length: number): Uint8Array;
}

/** What a read counts at least, in bytes: asking takes time too. */
const LEAST_COST = 64;
const CHUNK_SIZE = 16 * 1024;
const CACHED_CHUNKS = 512;
/** Longer reads are file content, which nobody reads twice. */
const LONGEST_CACHED_READ = 4 * CHUNK_SIZE;
/** No structure on a disk is as large, and content is read in pieces. */
export const LONGEST_READ = 1024 * 1024;

/** All of an image, with a cache of at most 8 MiB. */
export class ImageReader implements BlockReader {
  readonly name: string;
  readonly size: number;
  readonly #source: BlockSource;
  /** Bytes that may still be asked for. */
  #allowance = Infinity;
  /** In the order of their last use. */
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(name: string, source: BlockSource) {
    this.name = name;
    this.size = source.size;
    this.#source = source;
  }

  /**
   * Runs `action`, in which reading more than `bytes`, cached or not, is an error. Every structure has bounds of its own; this
   * bounds what an image can make of many of them.
   */
  withAllowance<T>(bytes: number, action: () => T): T {
    const before = this.#allowance;
    this.#allowance = bytes;
    try {
      return action();
    } finally {
      this.#allowance = before;
    }
  }

  bytes(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    this.#allowance -= Math.max(length, LEAST_COST);
    if (this.#allowance < 0) {
      throw new FilesystemError(
        this.name,
        "damaged, or made to be endless: looking for a kernel takes too long",
      );
    }
    if (length > LONGEST_CACHED_READ) return this.#read(offset, length);
    const first = Math.floor(offset / CHUNK_SIZE);
    const start = offset - first * CHUNK_SIZE;
    if (start + length <= CHUNK_SIZE) return this.#chunk(first).subarray(start, start + length);
    const bytes = new Uint8Array(length);
    let done = 0;
    for (let index = first; done < length; index++) {
      const from = index === first ? start : 0;
      const part = this.#chunk(index).subarray(from, from + length - done);
      bytes.set(part, done);
      done += part.length;
    }
    return bytes;
  }

  /** A plain Uint8Array in any case: `slice` of a Buffer makes no copy. */
  #read(offset: number, length: number): Uint8Array {
    const bytes = this.#source.read(offset, length);
    if (bytes.length !== length)
      throw new FilesystemError(this.name, `could not be read at offset ${offset}`);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
  }

  #chunk(index: number): Uint8Array {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      const offset = index * CHUNK_SIZE;
      chunk = this.#read(offset, Math.min(CHUNK_SIZE, this.size - offset));
      if (this.#chunks.size >= CACHED_CHUNKS) this.#chunks.delete(this.#chunks.keys().next().value!);
    } else {
      this.#chunks.delete(index);
    }
    this.#chunks.set(index, chunk);
    return chunk;
  }
}

/** A part of another reader, such as a partition. What lies beyond the end of the image is not there. */
export class PartReader implements BlockReader {
  readonly name: string;
  readonly size: number;
  readonly #whole: BlockReader;
  readonly #start: number;

  constructor(name: string, whole: BlockReader, start: number, size: number) {
    this.name = name;
    this.size = Math.max(0, Math.min(size, whole.size - start));
    this.#whole = whole;
    this.#start = start;
  }

  bytes(offset: number, length: number): Uint8Array {
    checkRange(this, offset, length);
    return this.#whole.bytes(this.#start + offset, length);
  }
}

/** Like {@link BlockReader.bytes}, but short where the reader ends: for looking at what may not be there. */
export function bytesUpTo(reader: BlockReader, offset: number, length: number): Uint8Array {
  const start = Math.min(offset, reader.size);
  return reader.bytes(start, Math.min(length, reader.size - start));
}

/** The same bytes as numbers. Its getters throw a RangeError beyond `length`: use fixed offsets, or check first. */
export function viewAt(reader: BlockReader, offset: number, length: number): DataView {
  return viewOf(reader.bytes(offset, length));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A little-endian 64-bit number. Beyond 2^53 it loses digits, which no size or offset that passes its check has. */
export function u64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 2 ** 32 + view.getUint32(offset, true);
}

function checkRange({ name, size }: BlockReader, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && length <= LONGEST_READ && offset + length <= size) return;
  throw new FilesystemError(
    name,
    `damaged: it refers to ${length} bytes at offset ${offset}, beyond its end at ${size}`,
    "if the image was copied or downloaded, it may be incomplete",
  );
}
