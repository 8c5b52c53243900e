/** Counts how often each cluster of an image is referred to: what its reference counts should be. */
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { EntryTable } from "./entry-table.ts";
import {
  COMPRESSED_HIGH,
  COPIED_HIGH,
  decodeCompressed,
  ENTRY_BYTES,
  entryOffset,
  ZERO_LOW,
} from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { readSnapshots } from "./snapshots.ts";

/** More clusters than this, or table entries to look at, are left to qemu-img. */
const MAX_CLUSTERS = 2 ** 26;
const MAX_L1_ENTRIES = 2 ** 26;

export interface References {
  /** By cluster number, as far as the file goes. */
  readonly counts: Uint32Array;
  /** What is wrong whatever the reference counts say. */
  readonly problems: readonly string[];
}

/** What an L1 or L2 entry of the active table looks like; `compressed` ones must not have the flag. */
export interface ActiveEntry {
  /** For people; good until the visitor returns. */
  readonly what: () => string;
  readonly cluster: number;
  readonly copied: boolean;
  readonly compressed: boolean;
}

/** Undefined for an image that is too large to be looked at here. Throws a DiskError or an ImageIoError. */
export function countReferences(
  file: ImageFile,
  header: Qcow2Header,
  refcountTable: EntryTable,
  visit: (entry: ActiveEntry) => void = () => undefined,
): References | undefined {
  const { clusterSize } = header;
  const total = Math.ceil(file.size / clusterSize);
  const { snapshots, bytes } = readSnapshots(file, header);
  const l1Entries = snapshots.reduce((sum, snapshot) => sum + snapshot.l1Entries, header.l1Entries);
  if (total > MAX_CLUSTERS || l1Entries > MAX_L1_ENTRIES) return undefined;

  const counts = new Uint32Array(total);
  const problems: string[] = [];
  const add = (what: () => string, offset: number, length: number): boolean => {
    const first = Math.floor(offset / clusterSize);
    const end = Math.ceil((offset + length) / clusterSize);
    if (end > total) {
      problems.push(`${what()} at ${offset} is behind the end of the file`);
      return false;
    }
    for (let cluster = first; cluster < end; cluster++) counts[cluster]! += 1;
    return true;
  };
  const addAligned = (what: () => string, offset: number): boolean => {
    if (offset % clusterSize === 0) return add(what, offset, clusterSize);
    problems.push(`${what()} at ${offset} is not at a cluster boundary`);
    return false;
  };

  add(() => "the header", 0, clusterSize);
  add(() => "the refcount table", header.refcountTableOffset, header.refcountTableClusters * clusterSize);
  for (let index = 0; index < refcountTable.entries; index++) {
    const offset = refcountTable.high(index) * 2 ** 32 + refcountTable.low(index);
    if (offset !== 0) addAligned(() => `refcount block ${index}`, offset);
  }
  if (bytes > 0) add(() => "the snapshot table", header.snapshotsOffset, bytes);

  const buffer = allocateNative(clusterSize);
  const view = new DataView(buffer.buffer);
  const range = { offset: 0, bytes: 0 };
  const addL1 = (name: string, offset: number, entries: number, active: boolean): void => {
    const l1 = new EntryTable(file, offset, entries);
    l1.read();
    add(() => `${name} L1 table`, offset, entries * ENTRY_BYTES);
    const seen = new Set<number>();
    let index = 0;
    let at = 0;
    const describeTable = (): string => `${name} L2 table ${index}`;
    const describeEntry = (): string => `${describeTable()}, entry ${at / ENTRY_BYTES}`;
    for (; index < entries; index++) {
      const table = entryOffset(l1.high(index), l1.low(index));
      if (table === 0) continue;
      if (seen.has(table)) problems.push(`${describeTable()} at ${table} is there twice`);
      if (!addAligned(describeTable, table) || seen.has(table)) continue;
      seen.add(table);
      const copied = (l1.high(index) & COPIED_HIGH) !== 0;
      if (active) visit({ what: describeTable, cluster: table / clusterSize, copied, compressed: false });
      file.read(buffer.address, clusterSize, table);
      for (at = 0; at < clusterSize; at += ENTRY_BYTES) {
        const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
        if (high !== 0 || low !== 0) addEntry(describeEntry, high, low, active);
      }
    }
  };
  const addEntry = (what: () => string, high: number, low: number, active: boolean): void => {
    const copied = (high & COPIED_HIGH) !== 0;
    if ((high & COMPRESSED_HIGH) !== 0) {
      decodeCompressed(high, low, header.clusterBits, range);
      const cluster = Math.floor(range.offset / clusterSize);
      // The last sectors that an entry claims need not be there.
      const end = Math.min(range.offset + range.bytes, total * clusterSize);
      if (add(what, range.offset, Math.max(1, end - range.offset)) && active) {
        visit({ what, cluster, copied, compressed: true });
      }
      return;
    }
    if ((low & ZERO_LOW) !== 0 && header.version < 3) {
      problems.push(`${what()} has the zero flag in version 2`);
    }
    const offset = entryOffset(high, low);
    if (offset === 0) return;
    if (addAligned(what, offset) && active) {
      visit({ what, cluster: offset / clusterSize, copied, compressed: false });
    }
  };
  addL1("active", header.l1Offset, header.l1Entries, true);
  for (const { id, l1Offset, l1Entries: entries } of snapshots) {
    addL1(`snapshot ${id}:`, l1Offset, entries, false);
  }
  return { counts, problems };
}
