/** Ranges of a qcow2 disk that are to read as zeros: by changes of entries where whole clusters are, elsewhere by writing zeros. */
import { IoVector } from "../../ffi/iovec.ts";
import { allocateNative, type NativeBuffer } from "../../ffi/native-buffer.ts";
import { ExtentList } from "../extents.ts";
import type { ClusterMap } from "./cluster-map.ts";
import { COMPRESSED_HIGH, entryOffset, isWritable, ZERO_LOW } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import type { Qcow2Layer } from "./layer.ts";
import { NONE } from "./slice-cache.ts";

const ZERO_CHUNK = 64 * 1024;
const ZERO_CHUNKS = 16;

/** What becomes of cleared clusters; see {@link Clearing}. */
type Mode = "discard" | "unmap" | "keep";

/** The disk's own ways to change its tables. Each throws an ImageIoError. */
export interface TableChanges {
  /** Throws a CorruptImageError if what this entry of a guest cluster refers to cannot be guest data. */
  checkReplaced(cluster: number, high: number, low: number): void;
  /** Makes L2 table `index` one that may be changed. */
  ownTable(index: number): void;
  /** What this entry refers to loses a reference. */
  unlink(high: number, low: number): void;
  write(vector: IoVector, offset: number): void;
  /** Writes to the file what waits in memory, if it is much. */
  keepBounded(): void;
}

export class Clearing {
  readonly #layer: Qcow2Layer;
  readonly #clusters: ClusterMap;
  readonly #changes: TableChanges;
  readonly #clusterSize: number;
  readonly #version: 2 | 3;
  readonly #extents = new ExtentList();
  #zeros: NativeBuffer | undefined;

  constructor(
    { clusterSize, version }: Qcow2Header,
    layer: Qcow2Layer,
    clusters: ClusterMap,
    changes: TableChanges,
  ) {
    this.#layer = layer;
    this.#clusters = clusters;
    this.#changes = changes;
    this.#clusterSize = clusterSize;
    this.#version = version;
  }

  /** Whole clusters within the range read as zeros from now on, or as what is below; their space is given back. */
  discard(offset: number, length: number): void {
    this.#clear(Math.ceil(offset / this.#clusterSize), this.#wholeEnd(offset + length), "discard");
  }

  /** All of the range reads as zeros from now on; `unmap` gives the space of whole clusters back. */
  writeZeroes(offset: number, length: number, unmap: boolean): void {
    const size = this.#clusterSize;
    const end = offset + length;
    // Version 2 knows zeros only as clusters that are not there, above nothing.
    if (this.#version < 3 && (!unmap || this.#layer.backing !== undefined)) {
      this.#writeZeroData(offset, end);
      return;
    }
    const mode = unmap ? "unmap" : "keep";
    const first = Math.ceil(offset / size);
    const stop = this.#wholeEnd(end);
    if (first > stop) {
      this.#zeroPart(offset, end, mode);
      return;
    }
    if (offset < first * size) this.#zeroPart(offset, Math.min(first * size, end), mode);
    this.#clear(first, stop, mode);
    if (end > stop * size) this.#zeroPart(Math.max(stop * size, offset), end, mode);
  }

  /** The guest cluster before which a range ends that covers whole clusters; the disk may end within its last one. */
  #wholeEnd(end: number): number {
    return end >= this.#layer.size ? Math.ceil(end / this.#clusterSize) : Math.floor(end / this.#clusterSize);
  }

  /**
   * Guest clusters from `first` to before `end` read as zeros from now on; with "discard" those may stay that show what is
   * below. "keep" keeps the space of those that have it to themselves.
   */
  #clear(first: number, end: number, mode: Mode): void {
    const clusters = this.#clusters;
    for (let cluster = first; cluster < end;) {
      const index = Math.floor(cluster / clusters.l2Entries);
      if (clusters.l2Offset(index) === 0 && (mode === "discard" || !this.#layer.hasBelow(cluster))) {
        cluster = (index + 1) * clusters.l2Entries;
        continue;
      }
      const sliceEnd = (Math.floor(cluster / clusters.sliceEntries) + 1) * clusters.sliceEntries;
      const stop = Math.min(end, sliceEnd);
      this.#clearSlice(cluster, stop, mode);
      cluster = stop;
      this.#changes.keepBounded();
    }
  }

  #clearSlice(first: number, end: number, mode: Mode): void {
    const clusters = this.#clusters;
    const { view } = clusters.cache;
    let slot = clusters.slotOf(first);
    let owned = false;
    for (let cluster = first; cluster < end; cluster++) {
      const below = this.#layer.hasBelow(cluster);
      let high = 0;
      let low = 0;
      if (slot !== NONE) {
        const at = clusters.entryAt(slot, cluster);
        high = view.getUint32(at);
        low = view.getUint32(at + 4);
      }
      const allocated = (high & COMPRESSED_HIGH) !== 0 || entryOffset(high, low) !== 0;
      const keep = mode === "keep" && isWritable(high, low & ~ZERO_LOW);
      if (
        keep ? (low & ZERO_LOW) !== 0 : !allocated && (mode === "discard" || !below || (low & ZERO_LOW) !== 0)
      ) {
        continue;
      }
      this.#changes.checkReplaced(cluster, high, low);
      if (!owned) {
        this.#changes.ownTable(Math.floor(cluster / clusters.l2Entries));
        slot = clusters.slotOf(cluster);
        owned = true;
      }
      const at = clusters.entryAt(slot, cluster);
      if (keep) {
        view.setUint32(at + 4, low | ZERO_LOW);
      } else {
        this.#changes.unlink(high, low);
        view.setUint32(at, 0);
        view.setUint32(at + 4, below ? ZERO_LOW : 0);
      }
      clusters.cache.markDirty(slot);
    }
  }

  /** Part of one cluster: the whole of it, if the rest of it is zeros already. */
  #zeroPart(offset: number, end: number, mode: "unmap" | "keep"): void {
    if (this.#mapsToZero(offset, end)) return;
    const cluster = Math.floor(offset / this.#clusterSize);
    const start = cluster * this.#clusterSize;
    const stop = Math.min(this.#layer.size, start + this.#clusterSize);
    if (this.#mapsToZero(start, offset) && this.#mapsToZero(end, stop)) {
      this.#clear(cluster, cluster + 1, mode);
    } else this.#writeZeroData(offset, end);
  }

  #mapsToZero(offset: number, end: number): boolean {
    if (offset >= end) return true;
    this.#extents.clear();
    return this.#layer.map(offset, end - offset, this.#extents) === end - offset && this.#extents.isZero();
  }

  #writeZeroData(offset: number, end: number): void {
    this.#zeros ??= allocateNative(ZERO_CHUNK);
    const vector = new IoVector();
    for (let position = offset; position < end;) {
      vector.clear();
      for (let chunk = 0; chunk < ZERO_CHUNKS; chunk++) {
        vector.add(this.#zeros.address, Math.min(ZERO_CHUNK, end - position - vector.bytes));
      }
      const { bytes } = vector;
      this.#changes.write(vector, position);
      position += bytes;
    }
  }
}
