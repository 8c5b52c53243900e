/**
 * Repairs an image whose dirty bit is set: a program that used lazy refcounts has not come to writing them. The tables that
 * map the guest's clusters are right then, and the reference counts are made to follow them. Until the dirty bit is cleared,
 * at the end, a crash only means to start again.
 */
import { allocateNative } from "../../ffi/native-buffer.ts";
import { DiskError } from "../errors.ts";
import type { ImageFile } from "../image-file.ts";
import { EntryTable } from "./entry-table.ts";
import {
  COMPRESSED_HIGH,
  COPIED_HIGH,
  ENTRY_BYTES,
  entryOffset,
  MAX_REFCOUNT_TABLE_BYTES,
} from "./format.ts";
import { HeaderWriter } from "./header-writer.ts";
import type { Qcow2Header } from "./header.ts";
import { refcountWidth } from "./refcount-width.ts";
import { countReferences } from "./references.ts";
import { readRefcountTable } from "./tables.ts";

/** Throws a DiskError where more is wrong than reference counts, and an ImageIoError. */
export function repairRefcounts(file: ImageFile, header: Qcow2Header): void {
  const writer = new HeaderWriter(file);
  // Bitmaps and the like are not kept up to date, and their clusters are not counted below.
  if (header.autoclear) {
    writer.clearAutoclear();
    file.sync();
  }
  const oldTable = readRefcountTable(file, header);
  const references = countReferences(file, header, oldTable);
  if (references === undefined) throw tooMuch(file.path, "it is too large to be repaired here");
  const [problem] = references.problems;
  if (problem !== undefined) throw tooMuch(file.path, problem);
  const width = refcountWidth(header.refcountOrder);
  const counts = new GrowingCounts(references.counts);
  const table = placeBlocks(file, header, oldTable, counts, width.bits);

  const { clusterSize } = header;
  const perBlock = (clusterSize * 8) / width.bits;
  const block = allocateNative(clusterSize);
  const bytes = new Uint8Array(block.buffer);
  const view = new DataView(block.buffer);
  for (let index = 0; index < table.entries; index++) {
    const offset = table.high(index) * 2 ** 32 + table.low(index);
    if (offset === 0) continue;
    bytes.fill(0);
    for (let entry = 0; entry < perBlock; entry++) {
      const count = counts.get(index * perBlock + entry);
      if (count > width.most) throw tooMuch(file.path, `a cluster is referred to ${count} times`);
      if (count > 0) width.set(view, 0, entry, count);
    }
    file.write(block.address, clusterSize, offset);
  }
  table.writeAll();
  file.sync();
  if (table.offset !== oldTable.offset) {
    writer.setRefcountTable(table.offset, (table.entries * ENTRY_BYTES) / clusterSize);
    file.sync();
  }
  repairFlags(file, header, counts);
  file.sync();
  writer.clearDirty();
  file.sync();
}

/** Counts of clusters, also of those that the repair adds to the file. */
class GrowingCounts {
  readonly #counts: Uint32Array;
  readonly #added = new Map<number, number>();
  #end: number;
  #hint = 0;

  constructor(counts: Uint32Array) {
    this.#counts = counts;
    this.#end = counts.length;
  }

  get end(): number {
    return this.#end;
  }

  get(cluster: number): number {
    return this.#counts[cluster] ?? this.#added.get(cluster) ?? 0;
  }

  /** A cluster that nothing refers to. */
  take(): number {
    while (this.#hint < this.#counts.length && this.#counts[this.#hint] !== 0) this.#hint += 1;
    if (this.#hint === this.#counts.length) return this.takeAtEnd(1);
    this.#counts[this.#hint] = 1;
    return this.#hint;
  }

  takeAtEnd(count: number): number {
    const first = this.#end;
    this.#end += count;
    for (let cluster = first; cluster < this.#end; cluster++) this.#added.set(cluster, 1);
    return first;
  }

  free(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster++) {
      if (cluster < this.#counts.length) this.#counts[cluster]! -= 1;
      else this.#added.delete(cluster);
    }
  }
}

/** The refcount table with a block for every cluster in use: the old one, completed, or a larger one. Not written yet. */
function placeBlocks(
  file: ImageFile,
  header: Qcow2Header,
  old: EntryTable,
  counts: GrowingCounts,
  bits: number,
): EntryTable {
  const { clusterSize } = header;
  const perBlock = (clusterSize * 8) / bits;
  const perCluster = clusterSize / ENTRY_BYTES;
  let table = old;
  for (let block = 0; block * perBlock < counts.end; block++) {
    if (block >= table.entries) {
      // Room for half as much again, so that the larger table and its own blocks fit.
      const clusters = Math.ceil((table.entries * 1.5) / perCluster) + 1;
      if (clusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
        throw tooMuch(file.path, "its refcount table would be too large");
      }
      const larger = new EntryTable(file, counts.takeAtEnd(clusters) * clusterSize, clusters * perCluster);
      larger.copyFrom(table);
      counts.free(table.offset / clusterSize, table.entries / perCluster);
      table = larger;
    }
    if (table.high(block) !== 0 || table.low(block) !== 0) continue;
    if (!usesAny(counts, block * perBlock, perBlock)) continue;
    const offset = counts.take() * clusterSize;
    table.set(block, Math.floor(offset / 2 ** 32), offset % 2 ** 32);
    // The cluster may lie where a block was not needed before.
    const own = Math.floor(offset / clusterSize / perBlock);
    if (own < block) block = own - 1;
  }
  return table;
}

function usesAny(counts: GrowingCounts, first: number, count: number): boolean {
  for (let cluster = first; cluster < first + count; cluster++) if (counts.get(cluster) > 0) return true;
  return false;
}

/** COPIED says that the count is one; only the active tables are accurate about it. */
function repairFlags(file: ImageFile, header: Qcow2Header, counts: GrowingCounts): void {
  const { clusterSize } = header;
  const right = (high: number, cluster: number): number =>
    ((high & ~COPIED_HIGH) | (counts.get(cluster) === 1 ? COPIED_HIGH : 0)) >>> 0;
  const l1 = new EntryTable(file, header.l1Offset, header.l1Entries);
  l1.read();
  const buffer = allocateNative(clusterSize);
  const view = new DataView(buffer.buffer);
  for (let index = 0; index < l1.entries; index++) {
    const [l1High, l1Low] = [l1.high(index), l1.low(index)];
    const table = entryOffset(l1High, l1Low);
    if (table === 0) continue;
    const l1Right = right(l1High, table / clusterSize);
    if (l1Right !== l1High) l1.set(index, l1Right, l1Low);
    file.read(buffer.address, clusterSize, table);
    let changed = false;
    for (let at = 0; at < clusterSize; at += ENTRY_BYTES) {
      const high = view.getUint32(at);
      const offset = entryOffset(high, view.getUint32(at + 4));
      const flagged =
        (high & COMPRESSED_HIGH) !== 0
          ? (high & ~COPIED_HIGH) >>> 0
          : offset === 0
            ? high
            : right(high, offset / clusterSize);
      if (flagged === high) continue;
      view.setUint32(at, flagged);
      changed = true;
    }
    if (changed) file.write(buffer.address, clusterSize, table);
  }
  l1.writeBack();
}

function tooMuch(path: string, problem: string): DiskError {
  return new DiskError(
    path,
    `was not closed properly, and cannot be repaired: ${problem}`,
    `repair it: tsvm image check --repair all ${path}`,
  );
}
