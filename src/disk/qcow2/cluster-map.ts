/** Guest cluster → L2 entry: the L1 table, which is in memory, and slices of L2 tables, of which a bounded number is. */
import type { ImageFile } from "../image-file.ts";
import { CorruptImageError } from "../io-error.ts";
import { EntryTable } from "./entry-table.ts";
import { ENTRY_BYTES, entryOffset } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { NONE, SliceCache } from "./slice-cache.ts";

/** L2 tables are read in parts of at most this many bytes: a table of 2 MiB would cost too much for one random access. */
const MAX_SLICE_BYTES = 4096;
const MIN_SLOTS = 16;

export class ClusterMap {
  /** Clusters that one L2 table describes, and one slice of it. */
  readonly l2Entries: number;
  readonly sliceEntries: number;
  readonly cache: SliceCache;
  readonly l1: EntryTable;
  readonly #file: ImageFile;
  readonly #header: Qcow2Header;
  readonly #makeRoom: () => void;

  /**
   * @param cacheBytes How much of the L2 tables is in memory at most.
   * @param makeRoom Called when all of the cache waits to be written; afterwards some of it must not.
   */
  constructor(file: ImageFile, header: Qcow2Header, cacheBytes: number, makeRoom: () => void) {
    this.#file = file;
    this.#header = header;
    this.#makeRoom = makeRoom;
    this.l2Entries = header.clusterSize / ENTRY_BYTES;
    const sliceBytes = Math.min(header.clusterSize, MAX_SLICE_BYTES);
    this.sliceEntries = sliceBytes / ENTRY_BYTES;
    const slices = Math.ceil(header.size / header.clusterSize / this.sliceEntries);
    const slots = Math.max(MIN_SLOTS, Math.min(slices, Math.floor(cacheBytes / sliceBytes)));
    this.cache = new SliceCache(file, sliceBytes, slots);
    this.l1 = new EntryTable(file, header.l1Offset, header.l1Entries);
    this.l1.read();
  }

  /** Slice `slot`'s entry of guest cluster `cluster` is at this byte of {@link SliceCache.view}. */
  entryAt(slot: number, cluster: number): number {
    // A mask, as sliceEntries is a power of two: the remainder of large numbers is slow.
    return slot * this.cache.sliceBytes + (cluster & (this.sliceEntries - 1)) * ENTRY_BYTES;
  }

  /** The slot with the L2 entry of guest cluster `cluster`; NONE where there is no L2 table. Throws an ImageIoError. */
  slotOf(cluster: number): number {
    const key = Math.floor(cluster / this.sliceEntries);
    const slot = this.cache.find(key);
    return slot === NONE ? this.#load(key, cluster) : slot;
  }

  /** Where L2 table `index` is, or 0. Throws a CorruptImageError where that cannot be. */
  l2Offset(index: number): number {
    const offset = entryOffset(this.l1.high(index), this.l1.low(index));
    if (offset === 0) return 0;
    const { clusterSize } = this.#header;
    if (offset % clusterSize !== 0 || offset >= this.#file.size) {
      throw new CorruptImageError(this.#file.path, `L2 table ${index} is at ${offset}`);
    }
    return offset;
  }

  /** L2 table `index` is at `offset` from now on; what is cached of it stays. */
  moveL2(index: number, offset: number): void {
    const slices = this.l2Entries / this.sliceEntries;
    for (let slice = 0; slice < slices; slice++) {
      this.cache.move(index * slices + slice, offset + slice * this.cache.sliceBytes);
    }
  }

  get dirty(): boolean {
    return this.cache.dirtyCount > 0 || this.l1.dirty;
  }

  /** Writes what differs from the file. Throws an ImageIoError. */
  writeBack(): void {
    this.cache.writeBack();
    this.l1.writeBack();
  }

  #load(key: number, cluster: number): number {
    const table = this.l2Offset(Math.floor(cluster / this.l2Entries));
    if (table === 0) return NONE;
    const within = ((key * this.sliceEntries) % this.l2Entries) * ENTRY_BYTES;
    const slot = this.cache.load(key, table + within);
    if (slot !== NONE) return slot;
    this.#makeRoom();
    return this.cache.load(key, table + within);
  }
}
