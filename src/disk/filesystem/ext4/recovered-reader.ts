import type { BlockReader } from "../../source/block-reader.ts";

/** Where the journal has the content of a block. */
export interface Replacement {
  /** Block of the disk. */
  readonly block: number;
  /** The block begins with the journal's magic number, which the journal stores as zeros. */
  readonly escaped: boolean;
}

const ESCAPED_MAGIC = [0xc0, 0x3b, 0x39, 0x98];

/** A file system with some of its blocks replaced by what the journal has for them. */
export class RecoveredReader implements BlockReader {
  readonly name: string;
  readonly size: number;
  readonly #reader: BlockReader;
  readonly #blockSize: number;
  readonly #replaced: ReadonlyMap<number, Replacement>;

  constructor(reader: BlockReader, blockSize: number, replaced: ReadonlyMap<number, Replacement>) {
    this.name = reader.name;
    this.size = reader.size;
    this.#reader = reader;
    this.#blockSize = blockSize;
    this.#replaced = replaced;
  }

  bytes(offset: number, length: number): Uint8Array {
    const original = this.#reader.bytes(offset, length);
    const blockSize = this.#blockSize;
    const first = Math.floor(offset / blockSize);
    const last = Math.floor((offset + length - 1) / blockSize);
    let result: Uint8Array | undefined;
    for (let block = first; block <= last; block++) {
      const replacement = this.#replaced.get(block);
      if (replacement === undefined) continue;
      // The original is the cache's.
      result ??= original.slice();
      const from = Math.max(offset, block * blockSize);
      const end = Math.min(offset + length, (block + 1) * blockSize);
      const within = from - block * blockSize;
      result.set(this.#content(replacement).subarray(within, within + (end - from)), from - offset);
    }
    return result ?? original;
  }

  #content({ block, escaped }: Replacement): Uint8Array {
    const bytes = this.#reader.bytes(block * this.#blockSize, this.#blockSize);
    if (!escaped) return bytes;
    const copy = bytes.slice();
    copy.set(ESCAPED_MAGIC);
    return copy;
  }
}
