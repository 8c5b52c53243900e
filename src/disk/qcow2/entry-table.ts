/** A table of 64-bit entries that is in memory as a whole: the L1 table, the refcount table. */
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { ENTRY_BYTES, SECTOR } from "./format.ts";

export class EntryTable {
  readonly entries: number;
  /** Where it is in the file. */
  readonly offset: number;
  readonly #file: ImageFile;
  readonly #native: NativeBuffer;
  readonly #view: DataView;
  /** 512-byte parts that differ from the file. */
  readonly #dirty = new Set<number>();

  /** All entries are 0 until {@link read}. */
  constructor(file: ImageFile, offset: number, entries: number) {
    this.#file = file;
    this.offset = offset;
    this.entries = entries;
    this.#native = allocateNative(Math.max(1, entries) * ENTRY_BYTES);
    this.#view = new DataView(this.#native.buffer);
  }

  /** Throws an ImageIoError. */
  read(): void {
    if (this.entries > 0) this.#file.read(this.#native.address, this.entries * ENTRY_BYTES, this.offset);
  }

  high(index: number): number {
    return this.#view.getUint32(index * ENTRY_BYTES);
  }

  low(index: number): number {
    return this.#view.getUint32(index * ENTRY_BYTES + 4);
  }

  set(index: number, high: number, low: number): void {
    this.#view.setUint32(index * ENTRY_BYTES, high);
    this.#view.setUint32(index * ENTRY_BYTES + 4, low);
    this.#dirty.add(Math.floor((index * ENTRY_BYTES) / SECTOR));
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** Writes the parts that differ from the file. Throws an ImageIoError. */
  writeBack(): void {
    for (const sector of this.#dirty) {
      // The table's last sector is its own to the end: tables take whole clusters.
      this.#file.write(this.#native.address + sector * SECTOR, SECTOR, this.offset + sector * SECTOR);
      this.#dirty.delete(sector);
    }
  }

  /** Writes all of it, wherever it is to be. Throws an ImageIoError. */
  writeAll(): void {
    const bytes = Math.ceil((this.entries * ENTRY_BYTES) / SECTOR) * SECTOR;
    this.#file.write(this.#native.address, bytes, this.offset);
    this.#dirty.clear();
  }

  /** Takes the entries of another, shorter table. */
  copyFrom(other: EntryTable): void {
    for (let index = 0; index < other.entries; index++) {
      this.#view.setUint32(index * ENTRY_BYTES, other.high(index));
      this.#view.setUint32(index * ENTRY_BYTES + 4, other.low(index));
    }
  }
}
