/**
 * A qcow2 image as the guest's disk.
 *
 * Tables change in memory and reach the file when the guest flushes, or when the cache is full, in this order:
 *
 *  1. guest data (written when the guest writes it), refcount blocks, new L2 tables;
 *  2. the refcount table, if it names new blocks (barrier before it);
 *  3. barrier, if anything of 1 and 2 must not be overtaken;
 *  4. L2 entries and L1 entries;
 *  5. barrier: the flush is done;
 *  6. reference counts of what nobody refers to any more go down, in memory, to be written with the next 1.
 *
 * So at every moment the file refers only to what has its count and its content, and a crash can leak clusters but nothing
 * else. A barrier is an fdatasync(2). The one at 3 is left out where only clusters from the reserve have been filled, which
 * have their counts on stable storage and read as zeros both before and if the data is lost.
 */
import { IoVector } from "../../ffi/iovec.ts";
import { memset } from "../../ffi/libc.ts";
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import type { BlockBackend } from "../backend.ts";
import { DiskError } from "../errors.ts";
import { ExtentList } from "../extents.ts";
import type { ImageFile } from "../image-file.ts";
import { CorruptImageError, EIO, EROFS, errnoOf, ImageIoError } from "../io-error.ts";
import { type ImageLayer, LayerReader } from "../layer.ts";
import { Clearing } from "./clearing.ts";
import { ClusterMap } from "./cluster-map.ts";
import { CompressedClusters } from "./compressed.ts";
import {
  COMPRESSED_HIGH,
  COPIED_HIGH,
  copiedHigh,
  decodeCompressed,
  entryOffset,
  isWritable,
  ZERO_LOW,
} from "./format.ts";
import { HeaderWriter } from "./header-writer.ts";
import type { Qcow2Header } from "./header.ts";
import { Qcow2Layer } from "./layer.ts";
import type { MetadataClusters } from "./metadata-clusters.ts";
import { PendingFrees } from "./pending-frees.ts";
import { Refcounts } from "./refcounts.ts";
import { NONE } from "./slice-cache.ts";
import { metadataClusters, readRefcountTable } from "./tables.ts";

export const DEFAULT_L2_CACHE_BYTES = 32 * 2 ** 20;
const MAX_PENDING_FREES = 4096;

export interface Qcow2LayerOptions {
  readonly file: ImageFile;
  readonly header: Qcow2Header;
  /** What shows through where nothing is allocated. */
  readonly backing?: ImageLayer | undefined;
  /** How much of the L2 tables is kept in memory at most, in bytes. */
  readonly l2CacheBytes?: number;
}

export interface Qcow2DiskOptions extends Qcow2LayerOptions {
  readonly readOnly: boolean;
  /** Told of damage that is found on the way; the guest gets an I/O error. */
  readonly report?: (error: ImageIoError) => void;
}

/** An image to read, as a layer below others. Throws a DiskError or an ImageIoError. */
export function openQcow2Layer(options: Qcow2LayerOptions): Qcow2Layer {
  return buildLayer(options, () => {
    throw new Error("a layer that is only read has nothing to write back");
  }).layer;
}

function buildLayer(
  { file, header, backing, l2CacheBytes = DEFAULT_L2_CACHE_BYTES }: Qcow2LayerOptions,
  makeRoom: () => void,
): { layer: Qcow2Layer; clusters: ClusterMap } {
  const clusters = new ClusterMap(file, header, l2CacheBytes, makeRoom);
  const compressed = new CompressedClusters(file, header);
  return { clusters, layer: new Qcow2Layer({ header, file, clusters, compressed, backing }) };
}

/** What is there only for an image that is written to. */
interface WriteSide {
  readonly header: HeaderWriter;
  readonly metadata: MetadataClusters;
  readonly refcounts: Refcounts;
}

export class Qcow2Disk implements BlockBackend {
  readonly size: number;
  readonly hasTables = true;
  readonly #file: ImageFile;
  readonly #header: Qcow2Header;
  readonly #clusterSize: number;
  readonly #layer: Qcow2Layer;
  readonly #clusters: ClusterMap;
  readonly #reader = new LayerReader();
  readonly #side: WriteSide | undefined;
  readonly #clearing: Clearing | undefined;
  readonly #report: (error: ImageIoError) => void;
  readonly #frees = new PendingFrees();
  /** Clusters of L2 tables that have been copied, and lose a reference as {@link #frees} do. */
  readonly #replacedTables: number[] = [];
  readonly #extents = new ExtentList();
  readonly #part = new IoVector();
  readonly #range = { offset: 0, bytes: 0 };
  #bounce: NativeBuffer | undefined;
  /** Something was written that L2 entries must not overtake. */
  #ordered = false;
  #autoclear: boolean;
  /** The image is damaged, or the file has failed: nothing is written any more. */
  #broken = false;

  /**
   * Throws a DiskError for an image that must not be written to, and an ImageIoError. An image whose dirty bit is set has
   * been repaired before ({@link repairRefcounts}).
   */
  constructor(options: Qcow2DiskOptions) {
    const { file, header, readOnly, report } = options;
    this.size = header.size;
    this.#file = file;
    this.#header = header;
    this.#clusterSize = header.clusterSize;
    this.#autoclear = header.autoclear;
    this.#report = report ?? (() => undefined);
    const { layer, clusters } = buildLayer(options, () => this.#commit());
    this.#layer = layer;
    this.#clusters = clusters;
    this.#side = readOnly ? undefined : this.#openWriteSide();
    this.#clearing = this.#side === undefined ? undefined : this.#openClearing(this.#side);
  }

  read(vector: IoVector, offset: number): number {
    try {
      const host = this.#layer.contiguous(offset, vector.bytes, 0);
      if (host >= 0) this.#file.readv(vector, host);
      else this.#reader.read(this.#layer, vector, offset);
      return 0;
    } catch (error) {
      return this.#errnoOf(error);
    }
  }

  write(vector: IoVector, offset: number): number {
    try {
      const side = this.#begin();
      const host = this.#contiguousInPlace(offset, vector.bytes, side);
      if (host >= 0) this.#file.writev(vector, host);
      else this.#write(vector, offset, side);
      return 0;
    } catch (error) {
      return this.#writeFailed(error);
    }
  }

  flush(): number {
    try {
      syncEach(this.flushSteps());
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  *flushSteps(): Generator<ImageFile, void, undefined> {
    if (this.#side === undefined) return;
    try {
      yield* this.#flush(this.#begin());
    } catch (error) {
      this.#writeFailed(error);
      throw error;
    }
  }

  discard(offset: number, length: number): number {
    // Version 2 has no way to say that a cluster reads as zeros although there is something below.
    if (this.#header.version < 3 && this.#layer.backing !== undefined) return 0;
    try {
      this.#begin();
      this.#clearing!.discard(offset, length);
      return 0;
    } catch (error) {
      return this.#writeFailed(error);
    }
  }

  writeZeroes(offset: number, length: number, unmap: boolean): number {
    try {
      this.#begin();
      this.#clearing!.writeZeroes(offset, length, unmap);
      return 0;
    } catch (error) {
      return this.#writeFailed(error);
    }
  }

  /** Writes what is in memory, and gives the reserve back. The disk is not used afterwards. */
  close(): number {
    if (this.#side === undefined || this.#broken) return 0;
    try {
      const { refcounts } = this.#side;
      syncEach(this.#flush(this.#side));
      refcounts.releaseReserve();
      syncEach(this.#writeCounts(refcounts));
      this.#file.sync();
      return 0;
    } catch (error) {
      return this.#writeFailed(error);
    }
  }

  mapRead(offset: number, length: number, extents: ExtentList): number {
    return this.#layer.map(offset, length, extents);
  }

  mapWrite(offset: number, length: number, extents: ExtentList): number {
    return this.#mapInPlace(offset, length, extents, this.#begin());
  }

  #openWriteSide(): WriteSide {
    const [file, header] = [this.#file, this.#header];
    if (header.corrupt) {
      throw new DiskError(
        file.path,
        "is marked as corrupt, and must not be written to",
        `repair it (tsvm image check --repair all ${file.path}), or boot it with --read-only`,
      );
    }
    if (header.dirty) throw new DiskError(file.path, "its reference counts have not been repaired");
    const table = readRefcountTable(file, header);
    const metadata = metadataClusters(file, header, this.#clusters.l1, table);
    const writer = new HeaderWriter(file);
    return { header: writer, metadata, refcounts: new Refcounts(file, header, table, writer, metadata) };
  }

  #openClearing(side: WriteSide): Clearing {
    return new Clearing(this.#header, this.#layer, this.#clusters, {
      checkReplaced: (cluster, high, low) => {
        this.#checkReplaced(cluster, high, low, side);
      },
      ownTable: (index) => {
        this.#ownTable(index, side);
      },
      unlink: (high, low) => {
        this.#unlink(high, low);
      },
      write: (vector, offset) => {
        this.#write(vector, offset, side);
      },
      keepBounded: () => {
        this.#keepBounded(side);
      },
    });
  }

  /** Before every change. */
  #begin(): WriteSide {
    const side = this.#side;
    if (side === undefined) throw new ImageIoError(this.#file.path, EROFS, "writing");
    if (this.#broken)
      throw new ImageIoError(this.#file.path, EIO, "nothing is written after damage was found");
    if (this.#autoclear) {
      side.header.clearAutoclear();
      this.#file.sync();
      this.#autoclear = false;
    }
    return side;
  }

  #errnoOf(error: unknown): number {
    if (error instanceof CorruptImageError) this.#report(error);
    return errnoOf(error);
  }

  #writeFailed(error: unknown): number {
    if (error instanceof CorruptImageError && this.#side !== undefined && !this.#broken) {
      this.#broken = true;
      if (this.#header.version >= 3) {
        try {
          this.#side.header.markCorrupt();
        } catch (second) {
          if (!(second instanceof ImageIoError)) throw second;
        }
      }
    }
    return this.#errnoOf(error);
  }

  #write(vector: IoVector, offset: number, side: WriteSide): void {
    const extents = this.#extents;
    for (let position = offset; vector.bytes > 0;) {
      extents.clear();
      const mapped = this.#mapInPlace(position, vector.bytes, extents, side);
      for (let at = 0; at < extents.count; at++) {
        this.#part.clear();
        this.#part.take(vector, extents.length[at]!);
        this.#file.writev(this.#part, extents.offset[at]!);
      }
      position += mapped;
      if (vector.bytes > 0 && !extents.full) position += this.#writeAllocating(vector, position, side);
    }
    this.#keepBounded(side);
  }

  /** Where in the file [offset, offset + length) can be written in one piece without a change of any table; otherwise -1. */
  #contiguousInPlace(offset: number, length: number, { metadata }: WriteSide): number {
    const host = this.#layer.contiguous(offset, length, COPIED_HIGH);
    if (host < 0) return -1;
    const size = this.#clusterSize;
    const [cluster, last] = [Math.floor(offset / size), Math.floor((offset + length - 1) / size)];
    if (!this.#ownsTable(cluster) || !this.#ownsTable(last)) return -1;
    const first = Math.floor(host / size);
    // What is wrong with it the other way finds out.
    return metadata.overlaps(first, last - cluster + 1) ? -1 : host;
  }

  #mapInPlace(offset: number, length: number, extents: ExtentList, { metadata }: WriteSide): number {
    const size = this.#clusterSize;
    const clusters = this.#clusters;
    let mapped = 0;
    while (mapped < length && !extents.full) {
      const position = offset + mapped;
      const cluster = Math.floor(position / size);
      const within = position & (size - 1);
      const slot = clusters.slotOf(cluster);
      if (slot === NONE || !this.#ownsTable(cluster)) break;
      const at = clusters.entryAt(slot, cluster);
      const high = clusters.cache.view.getUint32(at);
      const low = clusters.cache.view.getUint32(at + 4);
      if (!isWritable(high, low)) break;
      const host = entryOffset(high, low);
      this.#checkTarget(cluster, host, low, metadata);
      const bytes = Math.min(length - mapped, size - within);
      extents.addData(this.#file, host + within, bytes);
      mapped += bytes;
    }
    return mapped;
  }

  #ownsTable(cluster: number): boolean {
    const index = Math.floor(cluster / this.#clusters.l2Entries);
    return (this.#clusters.l1.high(index) & COPIED_HIGH) !== 0;
  }

  /** Throws a CorruptImageError unless guest data may be written to `host`. */
  #checkTarget(cluster: number, host: number, low: number, metadata: MetadataClusters): void {
    this.#layer.checkHost(cluster, host, low);
    if (metadata.overlaps(host / this.#clusterSize, 1)) {
      throw new CorruptImageError(
        this.#file.path,
        `guest cluster ${cluster} is at ${host}, where a table is`,
      );
    }
  }

  /** Writes a run of clusters that are not there yet, or not ours alone. Returns how many bytes; at least one. */
  #writeAllocating(vector: IoVector, position: number, side: WriteSide): number {
    const size = this.#clusterSize;
    const clusters = this.#clusters;
    const start = Math.floor(position / size);
    const within = position - start * size;
    this.#ownTable(Math.floor(start / clusters.l2Entries), side);
    const slot = clusters.slotOf(start);
    const at = clusters.entryAt(slot, start);
    const { view } = clusters.cache;
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    if (isPreallocatedZero(high, low)) {
      this.#layer.checkZeroFlag(start);
      const host = entryOffset(high, low);
      this.#checkTarget(start, host, low, side.metadata);
      const bytes = Math.min(vector.bytes, size - within);
      this.#ordered = true;
      this.#writeData(vector, position, bytes, host / size, 1, false);
      const again = clusters.entryAt(clusters.slotOf(start), start);
      view.setUint32(again + 4, low & ~ZERO_LOW);
      clusters.cache.markDirty(clusters.slotOf(start));
      return bytes;
    }
    const wanted = Math.min(
      Math.ceil((within + vector.bytes) / size),
      clusters.sliceEntries - (start % clusters.sliceEntries),
    );
    const count = this.#countAllocating(start, at, wanted, side);
    const first = side.refcounts.allocate(count);
    const taken = side.refcounts.allocated;
    const bytes = Math.min(vector.bytes, taken * size - within);
    try {
      this.#writeData(vector, position, bytes, first, taken, side.refcounts.allocatedZero);
      this.#link(start, first, taken);
    } catch (error) {
      side.refcounts.release(first, taken);
      throw error;
    }
    return bytes;
  }

  /** How many entries from `at` on need a new cluster. All of them are checked; what they replace decides about ordering. */
  #countAllocating(start: number, at: number, wanted: number, side: WriteSide): number {
    const { view } = this.#clusters.cache;
    let count = 0;
    for (; count < wanted; count++) {
      const high = view.getUint32(at + count * 8);
      const low = view.getUint32(at + count * 8 + 4);
      if (count > 0 && (isWritable(high, low) || isPreallocatedZero(high, low))) break;
      this.#checkReplaced(start + count, high, low, side);
      if (!this.#readsAsZero(start + count, high, low)) this.#ordered = true;
    }
    return count;
  }

  /** Whether a cluster with this entry reads as zeros without looking at any data. */
  #readsAsZero(cluster: number, high: number, low: number): boolean {
    if ((high & COMPRESSED_HIGH) !== 0) return false;
    if ((low & ZERO_LOW) !== 0) return true;
    return entryOffset(high, low) === 0 && !this.#layer.hasBelow(cluster);
  }

  /**
   * Writes `bytes` of `vector` at guest offset `position` into `count` clusters of the file from `first` on, with what
   * surrounds them. `zero`: these clusters read as zeros so far.
   */
  #writeData(
    vector: IoVector,
    position: number,
    bytes: number,
    first: number,
    count: number,
    zero: boolean,
  ): void {
    const size = this.#clusterSize;
    const start = Math.floor(position / size) * size;
    const end = position + bytes;
    const last = start + count * size;
    const head = this.#surrounding(start, position - start, 0, zero);
    const tail = this.#surrounding(end, last - end, size, zero);
    if (!zero) this.#ordered = true;
    const part = this.#part;
    part.clear();
    part.add(this.#bounce?.address ?? 0, head);
    let at = first * size + (position - start) - head;
    if (!part.take(vector, bytes)) {
      // More buffers than one call takes.
      this.#file.writev(part, at);
      at += head;
      part.clear();
      part.take(vector, bytes);
    }
    if (tail > 0 && !part.add(this.#bounce!.address + size, tail)) {
      const done = part.bytes;
      this.#file.writev(part, at);
      at += done;
      part.clear();
      part.add(this.#bounce!.address + size, tail);
    }
    this.#file.writev(part, at);
  }

  /**
   * Puts the content of [offset, offset + length), part of one guest cluster, at `at` of the bounce buffer. Returns `length`,
   * or 0 if it need not be written: `zero` says that zeros are there already.
   */
  #surrounding(offset: number, length: number, at: number, zero: boolean): number {
    if (length === 0) return 0;
    const visible = Math.max(0, Math.min(length, this.size - offset));
    const extents = this.#extents;
    extents.clear();
    const isZero =
      visible === 0 || (this.#layer.map(offset, visible, extents) === visible && extents.isZero());
    if (isZero && zero) return 0;
    this.#bounce ??= allocateNative(2 * this.#clusterSize);
    const address = this.#bounce.address + at;
    if (isZero) memset(address, 0, length);
    else {
      this.#part.clear();
      this.#part.add(address, visible);
      this.#reader.read(this.#layer, this.#part, offset);
      memset(address + visible, 0, length - visible);
    }
    return length;
  }

  /** Guest clusters from `start` on are in the file's clusters from `first` on; what was there before is given back. */
  #link(start: number, first: number, count: number): void {
    const clusters = this.#clusters;
    const slot = clusters.slotOf(start);
    const { view } = clusters.cache;
    for (let index = 0; index < count; index++) {
      const at = clusters.entryAt(slot, start + index);
      this.#unlink(view.getUint32(at), view.getUint32(at + 4));
      const host = (first + index) * this.#clusterSize;
      view.setUint32(at, copiedHigh(host));
      view.setUint32(at + 4, host % 2 ** 32);
    }
    clusters.cache.markDirty(slot);
  }

  /** What this entry refers to loses a reference; {@link #checkReplaced} has looked at it. */
  #unlink(high: number, low: number): void {
    if ((high & COMPRESSED_HIGH) !== 0) {
      const { offset, bytes } = decodeCompressed(high, low, this.#header.clusterBits, this.#range);
      const first = Math.floor(offset / this.#clusterSize);
      this.#frees.add(first, Math.floor((offset + bytes - 1) / this.#clusterSize) - first + 1);
      return;
    }
    const host = entryOffset(high, low);
    if (host !== 0) this.#frees.add(host / this.#clusterSize, 1);
  }

  /** Throws a CorruptImageError if what this entry refers to cannot be guest data. */
  #checkReplaced(cluster: number, high: number, low: number, { metadata }: WriteSide): void {
    if ((high & COMPRESSED_HIGH) !== 0) {
      const { offset, bytes } = decodeCompressed(high, low, this.#header.clusterBits, this.#range);
      const first = Math.floor(offset / this.#clusterSize);
      const end = Math.ceil((offset + bytes) / this.#clusterSize);
      if (offset < this.#file.size && !metadata.overlaps(first, end - first)) return;
      throw new CorruptImageError(this.#file.path, `guest cluster ${cluster} is at ${offset}`);
    }
    if ((low & ZERO_LOW) !== 0) this.#layer.checkZeroFlag(cluster);
    const host = entryOffset(high, low);
    if (host !== 0) this.#checkTarget(cluster, host, low, metadata);
  }

  /** Makes L2 table `index` one that may be changed: a new one, or a copy of one that a snapshot uses too. */
  #ownTable(index: number, { refcounts, metadata }: WriteSide): void {
    const clusters = this.#clusters;
    const old = clusters.l2Offset(index);
    if (old !== 0 && (clusters.l1.high(index) & COPIED_HIGH) !== 0) return;
    const size = this.#clusterSize;
    const cluster = refcounts.allocate(1);
    const host = cluster * size;
    if (old !== 0 || !refcounts.allocatedZero) {
      try {
        this.#copyTable(old, host);
      } catch (error) {
        refcounts.release(cluster, 1);
        throw error;
      }
      this.#ordered = true;
    }
    clusters.l1.set(index, copiedHigh(host), host % 2 ** 32);
    metadata.add(cluster);
    if (old === 0) return;
    clusters.moveL2(index, host);
    this.#replacedTables.push(old / size);
  }

  /** Copies one table in the file, where nothing of it waits to be written; from 0: zeros. */
  #copyTable(from: number, to: number): void {
    const size = this.#clusterSize;
    this.#bounce ??= allocateNative(2 * size);
    if (from === 0) memset(this.#bounce.address, 0, size);
    else this.#file.read(this.#bounce.address, size, from);
    this.#file.write(this.#bounce.address, size, to);
  }

  /** What waits in memory is bounded, whether the guest flushes or not. */
  #keepBounded(side: WriteSide): void {
    if (this.#frees.runs > MAX_PENDING_FREES) syncEach(this.#flush(side));
    else if (this.#clusters.cache.dirtyCount * 4 > this.#clusters.cache.slots * 3) this.#commit();
  }

  /** Steps 1 to 4: afterwards the file has all that memory has. */
  #commit(): void {
    syncEach(this.#commitSteps());
  }

  *#commitSteps(): Generator<ImageFile, void, undefined> {
    if (!this.#clusters.dirty) return;
    const { refcounts } = this.#side!;
    yield* this.#writeCounts(refcounts);
    if (this.#ordered || refcounts.unstable) {
      yield this.#file;
      this.#ordered = refcounts.unstable = false;
    }
    this.#clusters.writeBack();
  }

  *#writeCounts(refcounts: Refcounts): Generator<ImageFile, void, undefined> {
    refcounts.writeBlocks();
    if (!refcounts.tableDirty) return;
    yield this.#file;
    refcounts.writeTable();
    refcounts.unstable = true;
  }

  *#flush({ refcounts, metadata }: WriteSide): Generator<ImageFile, void, undefined> {
    yield* this.#commitSteps();
    // With this flush, counts for what comes next become stable at no cost.
    if (refcounts.topUp()) refcounts.writeBlocks();
    yield this.#file;
    if (!refcounts.dirty) refcounts.unstable = false;
    this.#ordered = false;
    this.#frees.drain((first, count) => {
      refcounts.lower(first, count, true);
    });
    while (this.#replacedTables.length > 0) {
      const cluster = this.#replacedTables.pop()!;
      metadata.remove(cluster);
      refcounts.lower(cluster, 1);
      if (refcounts.isUsed(cluster)) metadata.add(cluster); // by a snapshot
    }
  }
}

/** Takes the steps one after the other, waiting for each file. */
function syncEach(steps: Iterable<ImageFile>): void {
  for (const file of steps) file.sync();
}

/** Whether this entry reads as zeros, and has a cluster to itself. */
function isPreallocatedZero(high: number, low: number): boolean {
  return (low & ZERO_LOW) !== 0 && isWritable(high, low & ~ZERO_LOW);
}
