/** The tables of an image that is to be written to, and which clusters they take. */
import { DiskError } from "../errors.ts";
import type { ImageFile } from "../image-file.ts";
import { EntryTable } from "./entry-table.ts";
import { ENTRY_BYTES, entryOffset } from "./format.ts";
import type { Qcow2Header } from "./header.ts";
import { MetadataClusters } from "./metadata-clusters.ts";
import { type Qcow2Snapshot, readSnapshots } from "./snapshots.ts";

/** Throws an ImageIoError. */
export function readRefcountTable(file: ImageFile, header: Qcow2Header): EntryTable {
  const entries = (header.refcountTableClusters * header.clusterSize) / ENTRY_BYTES;
  const table = new EntryTable(file, header.refcountTableOffset, entries);
  table.read();
  return table;
}

/** Of all snapshots together; what is beyond is protected by its reference counts alone. */
const MAX_SNAPSHOT_L1_ENTRIES = 2 ** 22;

/**
 * The header, L1 and L2 tables, refcount table and blocks, the snapshot table.
 * Throws a DiskError where two of them overlap: such an image must not be written to.
 */
export function metadataClusters(
  file: ImageFile,
  header: Qcow2Header,
  l1: EntryTable,
  refcountTable: EntryTable,
): MetadataClusters {
  const { clusterSize } = header;
  const clusters: number[] = [0];
  const add = (offset: number, bytes: number): void => {
    const end = Math.ceil((offset + bytes) / clusterSize);
    for (let cluster = Math.floor(offset / clusterSize); cluster < end; cluster++) clusters.push(cluster);
  };
  const { snapshots, bytes } = readSnapshots(file, header);
  if (bytes > 0) add(header.snapshotsOffset, bytes);
  for (const snapshot of snapshots) add(snapshot.l1Offset, snapshot.l1Entries * ENTRY_BYTES);
  add(header.l1Offset, header.l1Entries * ENTRY_BYTES);
  add(header.refcountTableOffset, header.refcountTableClusters * clusterSize);
  const addEntries = (what: string, table: EntryTable, offsetOf: (index: number) => number): void => {
    for (let index = 0; index < table.entries; index++) {
      const offset = offsetOf(index);
      if (offset === 0) continue;
      if (offset % clusterSize !== 0 || offset >= file.size) {
        throw damaged(file.path, `${what} ${index} is at ${offset}`);
      }
      clusters.push(offset / clusterSize);
    }
  };
  addEntries("L2 table", l1, (index) => entryOffset(l1.high(index), l1.low(index)));
  addEntries(
    "refcount block",
    refcountTable,
    (index) => refcountTable.high(index) * 2 ** 32 + refcountTable.low(index),
  );
  const own = new MetadataClusters(Float64Array.from(clusters));
  const twice = own.duplicate;
  if (twice !== undefined) throw damaged(file.path, `two tables overlap at ${twice * clusterSize}`);
  const shared = snapshotTables(file, clusterSize, snapshots).filter((cluster) => !own.overlaps(cluster, 1));
  return shared.length === 0 ? own : new MetadataClusters(Float64Array.from([...clusters, ...shared]));
}

/** The clusters of the snapshots' L2 tables, each once. */
function snapshotTables(file: ImageFile, clusterSize: number, snapshots: readonly Qcow2Snapshot[]): number[] {
  const found = new Set<number>();
  let entries = 0;
  for (const { l1Offset, l1Entries } of snapshots) {
    entries += l1Entries;
    if (entries > MAX_SNAPSHOT_L1_ENTRIES) break;
    const l1 = new EntryTable(file, l1Offset, l1Entries);
    l1.read();
    for (let index = 0; index < l1Entries; index++) {
      const offset = entryOffset(l1.high(index), l1.low(index));
      if (offset !== 0 && offset % clusterSize === 0 && offset < file.size) found.add(offset / clusterSize);
    }
  }
  return [...found];
}

function damaged(path: string, problem: string): DiskError {
  return new DiskError(
    path,
    `is a damaged qcow2 image: ${problem}`,
    `mend a copy of it with tsvm image check --repair all; it can still be opened read-only`,
  );
}
