/**
 * Which clusters of the file are in use: the refcount table, which is in memory, and slices of refcount blocks. Clusters are
 * given out from a small reserve whose counts are already set, so that most allocations change no table at all; what is
 * left of the reserve when a process is killed is leaked, which harms nobody.
 *
 * Counts go up before anything refers to a cluster, and down only after the last reference is gone from stable storage:
 * a crash may leave a count too high, never too low.
 */
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { CorruptImageError, EFBIG, ImageIoError } from "../io-error.ts";
import { EntryTable } from "./entry-table.ts";
import { ENTRY_BYTES, MAX_REFCOUNT_TABLE_BYTES } from "./format.ts";
import type { HeaderWriter } from "./header-writer.ts";
import type { Qcow2Header } from "./header.ts";
import type { MetadataClusters } from "./metadata-clusters.ts";
import { refcountWidth, type RefcountWidth } from "./refcount-width.ts";
import { NONE, SliceCache } from "./slice-cache.ts";

const MAX_SLICE_BYTES = 4096;
const CACHE_BYTES = 2 ** 20;
const MIN_SLOTS = 16;
const RESERVE_BYTES = 4 * 2 ** 20;
const MIN_RESERVE = 4;
const MAX_RESERVE = 256;

export class Refcounts {
  /** Of the last {@link allocate}: how many clusters it gave, and whether they are known to read as zeros. */
  allocated = 0;
  allocatedZero = false;
  /** Counts have gone up, and that may not be on stable storage yet. */
  unstable = false;

  readonly #file: ImageFile;
  readonly #header: HeaderWriter;
  readonly #metadata: MetadataClusters;
  readonly #clusterSize: number;
  readonly #width: RefcountWidth;
  /** Clusters that one block describes, and one slice of it. */
  readonly #blockEntries: number;
  readonly #sliceEntries: number;
  readonly #cache: SliceCache;
  readonly #reserve: number;
  #table: EntryTable;
  /** No free cluster below this one, as far as is known. */
  #hint = 0;
  /** The reserve: clusters from `next` to before `end`. */
  #next = 0;
  #end = 0;
  /** Nothing has been written at or behind this offset of the file. */
  #untouched: number;
  #zeros: NativeBuffer | undefined;

  /** @param table As it is in the file. */
  constructor(
    file: ImageFile,
    header: Qcow2Header,
    table: EntryTable,
    writer: HeaderWriter,
    metadata: MetadataClusters,
  ) {
    const { clusterSize } = header;
    this.#file = file;
    this.#header = writer;
    this.#metadata = metadata;
    this.#clusterSize = clusterSize;
    this.#width = refcountWidth(header.refcountOrder);
    this.#blockEntries = (clusterSize * 8) / this.#width.bits;
    const sliceBytes = Math.min(clusterSize, MAX_SLICE_BYTES);
    this.#sliceEntries = (sliceBytes * 8) / this.#width.bits;
    this.#cache = new SliceCache(file, sliceBytes, Math.max(MIN_SLOTS, CACHE_BYTES / sliceBytes));
    this.#reserve = Math.min(MAX_RESERVE, Math.max(MIN_RESERVE, RESERVE_BYTES / clusterSize));
    this.#table = table;
    this.#untouched = file.growable ? Math.ceil(file.size / clusterSize) * clusterSize : Infinity;
  }

  /**
   * Takes up to `wanted` adjoining clusters, at least one. {@link allocated} says how many.
   * Returns the first; throws an ImageIoError.
   */
  allocate(wanted: number): number {
    if (this.#next === this.#end) this.#refill(wanted);
    const first = this.#next;
    const count = Math.min(wanted, this.#end - first);
    this.#next += count;
    const start = first * this.#clusterSize;
    this.allocated = count;
    this.allocatedZero = start >= this.#untouched;
    this.#untouched = Math.max(this.#untouched, start + count * this.#clusterSize);
    return first;
  }

  /** Gives clusters back that nothing has ever referred to. */
  release(first: number, count: number): void {
    if (first + count === this.#next) this.#next = first;
    else this.lower(first, count);
  }

  /** Fills the reserve if it has been used up. Returns whether it has. */
  topUp(): boolean {
    if (this.#next !== this.#end || this.#end === 0) return false;
    this.#refill(1);
    return true;
  }

  /** Gives the reserve back: for the end. Throws an ImageIoError. */
  releaseReserve(): void {
    if (this.#next === this.#end) return;
    const [first, end] = [this.#next, this.#end];
    this.#end = first;
    this.lower(first, end - first);
    const size = this.#clusterSize;
    if (end * size === this.#file.size && first * size >= this.#untouched) this.#file.shrink(first * size);
  }

  /**
   * Lowers the counts of `count` clusters from `first` on. The caller has made sure that one reference less to each is on
   * stable storage. Where counts reach zero, and `punch` is set, the space goes back to the host.
   * Throws a CorruptImageError where a count is zero already, and an ImageIoError.
   */
  lower(first: number, count: number, punch = false): void {
    if (this.#metadata.overlaps(first, count)) {
      throw new CorruptImageError(
        this.#file.path,
        `of the clusters ${first} to ${first + count - 1}, which guest data was in, one holds a table`,
      );
    }
    let unused = first;
    for (let cluster = first; cluster < first + count; cluster++) {
      const slot = this.#slotOf(cluster);
      const base = slot * this.#cache.sliceBytes;
      const index = cluster % this.#sliceEntries;
      const before = slot === NONE ? 0 : this.#width.get(this.#cache.view, base, index);
      if (before === 0) {
        throw new CorruptImageError(
          this.#file.path,
          `cluster ${cluster} is in use and has no reference count`,
        );
      }
      if (before > this.#width.most) continue; // more than can be counted here: it stays in use
      this.#width.set(this.#cache.view, base, index, before - 1);
      this.#cache.markDirty(slot);
      if (before > 1) {
        if (punch) this.#punch(unused, cluster);
        unused = cluster + 1;
      } else if (cluster < this.#hint) this.#hint = cluster;
    }
    if (punch) this.#punch(unused, first + count);
  }

  /** Whether the count of `cluster` is not zero. */
  isUsed(cluster: number): boolean {
    const slot = this.#slotOf(cluster);
    if (slot === NONE) return false;
    return (
      this.#width.get(this.#cache.view, slot * this.#cache.sliceBytes, cluster % this.#sliceEntries) !== 0
    );
  }

  get dirty(): boolean {
    return this.#cache.dirtyCount > 0 || this.#table.dirty;
  }

  /** New refcount blocks wait to be named in the table, which must not happen before they are on stable storage. */
  get tableDirty(): boolean {
    return this.#table.dirty;
  }

  /** Throws an ImageIoError. */
  writeBlocks(): void {
    this.#cache.writeBack();
  }

  /** Throws an ImageIoError. */
  writeTable(): void {
    this.#table.writeBack();
  }

  /** The slot of the slice with the count of `cluster`; NONE where there is no block. */
  #slotOf(cluster: number): number {
    const key = Math.floor(cluster / this.#sliceEntries);
    const found = this.#cache.find(key);
    if (found !== NONE) return found;
    const block = Math.floor(cluster / this.#blockEntries);
    const offset = block < this.#table.entries ? this.#blockOffset(block) : 0;
    if (offset === 0) return NONE;
    const at = offset + ((key * this.#sliceEntries) % this.#blockEntries) * (this.#width.bits / 8);
    const slot = this.#cache.load(key, at);
    if (slot !== NONE) return slot;
    this.#cache.writeBack(); // counts may be written at any time
    return this.#cache.load(key, at);
  }

  #blockOffset(block: number): number {
    const offset = this.#table.high(block) * 2 ** 32 + this.#table.low(block);
    if (offset % this.#clusterSize !== 0 || offset >= this.#file.size) {
      throw new CorruptImageError(this.#file.path, `refcount block ${block} is at ${offset}`);
    }
    return offset;
  }

  /** The reserve is empty: takes a run of free clusters. */
  #refill(wanted: number): void {
    const most = Math.max(this.#reserve, wanted);
    for (let cluster = this.#hint; ;) {
      const block = Math.floor(cluster / this.#blockEntries);
      if (block >= this.#table.entries) {
        cluster = this.#growTable();
        continue;
      }
      if (this.#blockOffset(block) === 0) this.#createBlock(block);
      const slot = this.#slotOf(cluster);
      const sliceEnd = (Math.floor(cluster / this.#sliceEntries) + 1) * this.#sliceEntries;
      const free = this.#nextFree(slot, cluster, sliceEnd);
      if (free === sliceEnd) {
        this.#hint = cluster = sliceEnd;
        continue;
      }
      this.#take(slot, free, this.#freeEnd(slot, free, Math.min(sliceEnd, free + most)));
      return;
    }
  }

  #nextFree(slot: number, from: number, to: number): number {
    const base = slot * this.#cache.sliceBytes;
    const { view } = this.#cache;
    for (let cluster = from; cluster < to; cluster++) {
      if (this.#width.get(view, base, cluster % this.#sliceEntries) === 0) return cluster;
    }
    return to;
  }

  #freeEnd(slot: number, from: number, to: number): number {
    const base = slot * this.#cache.sliceBytes;
    const { view } = this.#cache;
    for (let cluster = from; cluster < to; cluster++) {
      if (this.#width.get(view, base, cluster % this.#sliceEntries) !== 0) return cluster;
    }
    return to;
  }

  #take(slot: number, first: number, end: number): void {
    if (this.#metadata.overlaps(first, end - first)) {
      throw new CorruptImageError(
        this.#file.path,
        `of the clusters ${first} to ${end - 1}, which have no reference count, one holds a table`,
      );
    }
    // The file has to reach as far as anything in it may refer to: before the reference, so before a crash.
    this.#file.grow(end * this.#clusterSize);
    const base = slot * this.#cache.sliceBytes;
    for (let cluster = first; cluster < end; cluster++) {
      this.#width.set(this.#cache.view, base, cluster % this.#sliceEntries, 1);
    }
    this.#cache.markDirty(slot);
    this.unstable = true;
    this.#next = first;
    this.#hint = this.#end = end;
  }

  /** A new block lies in the first of the clusters that it describes: none of them is in use. */
  #createBlock(block: number): void {
    const cluster = block * this.#blockEntries;
    const offset = cluster * this.#clusterSize;
    if (this.#metadata.overlaps(cluster, 1)) {
      throw new CorruptImageError(
        this.#file.path,
        `cluster ${cluster} holds a table, and there is no refcount block for it`,
      );
    }
    this.#writeZeros(offset);
    this.#table.set(block, Math.floor(offset / 2 ** 32), offset % 2 ** 32);
    this.#metadata.add(cluster);
    const slot = this.#slotOf(cluster);
    this.#width.set(this.#cache.view, slot * this.#cache.sliceBytes, cluster % this.#sliceEntries, 1);
    this.#cache.markDirty(slot);
    this.unstable = true;
  }

  #writeZeros(offset: number): void {
    const size = this.#clusterSize;
    if (offset < this.#untouched) {
      this.#zeros ??= allocateNative(size);
      this.#file.write(this.#zeros.address, size, offset);
    } else this.#file.grow(offset + size);
    if (this.#file.growable) this.#untouched = Math.max(this.#untouched, offset + size);
  }

  /**
   * Moves the refcount table, larger, behind everything that is in use, together with the blocks that describe where it is.
   * The header, in one write, changes from the old to the new one when that is complete on stable storage.
   * Returns where the next free cluster may be.
   */
  #growTable(): number {
    const size = this.#clusterSize;
    const perCluster = size / ENTRY_BYTES;
    const old = this.#table;
    const oldClusters = old.entries / perCluster;
    const first = Math.max(old.entries * this.#blockEntries, Math.ceil(this.#file.size / size));
    const firstBlock = Math.floor(first / this.#blockEntries);
    let clusters = Math.ceil(oldClusters * 1.5) + (oldClusters === 1 ? 0 : 1);
    let blocks = 1;
    for (;;) {
      const lastBlock = Math.floor((first + blocks + clusters - 1) / this.#blockEntries);
      const needed = Math.ceil((lastBlock + 1) / perCluster);
      if (
        clusters * size > Math.max(MAX_REFCOUNT_TABLE_BYTES, size) ||
        needed * size > MAX_REFCOUNT_TABLE_BYTES
      ) {
        throw new ImageIoError(this.#file.path, EFBIG, "the image cannot grow further");
      }
      if (blocks < lastBlock - firstBlock + 1) blocks = lastBlock - firstBlock + 1;
      else if (clusters < needed) clusters = needed;
      else break;
    }
    const end = first + blocks + clusters;
    this.#cache.writeBack(); // the new table names the blocks that the old one does not name yet
    const table = new EntryTable(this.#file, (first + blocks) * size, clusters * perCluster);
    table.copyFrom(old);
    const block = allocateNative(size);
    const view = new DataView(block.buffer);
    for (let index = 0; index < blocks; index++) {
      new Uint8Array(block.buffer).fill(0);
      const start = (firstBlock + index) * this.#blockEntries;
      const stop = Math.min(end, start + this.#blockEntries);
      for (let cluster = Math.max(first, start); cluster < stop; cluster++) {
        this.#width.set(view, 0, cluster - start, 1);
      }
      const offset = (first + index) * size;
      this.#file.write(block.address, size, offset);
      table.set(firstBlock + index, Math.floor(offset / 2 ** 32), offset % 2 ** 32);
    }
    table.writeAll();
    this.#file.sync();
    this.#header.setRefcountTable(table.offset, clusters);
    this.#file.sync();
    this.#table = table;
    for (let cluster = first; cluster < end; cluster++) this.#metadata.add(cluster);
    if (this.#file.growable) this.#untouched = Math.max(this.#untouched, end * size);
    this.#hint = end;
    const retired = old.offset / size;
    for (let cluster = retired; cluster < retired + oldClusters; cluster++) this.#metadata.remove(cluster);
    this.lower(retired, oldClusters);
    return this.#hint;
  }

  #punch(first: number, end: number): void {
    if (first >= end) return;
    try {
      this.#file.punchHole(first * this.#clusterSize, (end - first) * this.#clusterSize);
    } catch (error) {
      // Advice: the clusters are free all the same.
      if (!(error instanceof ImageIoError)) throw error;
    }
  }
}
