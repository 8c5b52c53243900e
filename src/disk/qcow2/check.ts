/** Whether an image's reference counts say what its tables say. */
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import type { EntryTable } from "./entry-table.ts";
import type { Qcow2Header } from "./header.ts";
import { refcountWidth } from "./refcount-width.ts";
import { type ActiveEntry, countReferences } from "./references.ts";
import { readRefcountTable } from "./tables.ts";

export interface CheckResult {
  /** What can cost data. */
  readonly corruptions: readonly string[];
  /** Clusters that take space and hold nothing. */
  readonly leaks: number;
}

/** Looks at all tables; nobody writes to the image meanwhile. Undefined for an image that is too large for it. */
export function checkImage(file: ImageFile, header: Qcow2Header): CheckResult | undefined {
  const table = readRefcountTable(file, header);
  const stored = readCounts(file, header, table, Math.ceil(file.size / header.clusterSize));
  const corruptions: string[] = [];
  const checkFlag = ({ what, cluster, copied, compressed }: ActiveEntry): void => {
    const alone = !compressed && stored[cluster] === 1;
    if (copied === alone) return;
    corruptions.push(`${what()}: COPIED is ${copied}, the reference count ${stored[cluster]}`);
  };
  const references = countReferences(file, header, table, checkFlag);
  if (references === undefined) return undefined;
  corruptions.push(...references.problems);
  let leaks = 0;
  for (let cluster = 0; cluster < references.counts.length; cluster++) {
    const [has, count] = [stored[cluster]!, references.counts[cluster]!];
    if (has < count) corruptions.push(`cluster ${cluster}: reference count ${has}, ${count} references`);
    else if (has > count) leaks += 1;
  }
  return { corruptions, leaks };
}

/** The reference counts of the first `clusters` clusters. Throws an ImageIoError. */
export function readCounts(
  file: ImageFile,
  header: Qcow2Header,
  table: EntryTable,
  clusters: number,
): Float64Array {
  const counts = new Float64Array(clusters);
  const width = refcountWidth(header.refcountOrder);
  const perBlock = (header.clusterSize * 8) / width.bits;
  const buffer = allocateNative(header.clusterSize);
  const view = new DataView(buffer.buffer);
  for (let block = 0; block < table.entries && block * perBlock < clusters; block++) {
    const offset = table.high(block) * 2 ** 32 + table.low(block);
    if (offset === 0 || offset >= file.size) continue;
    file.read(buffer.address, header.clusterSize, offset);
    const end = Math.min(perBlock, clusters - block * perBlock);
    for (let index = 0; index < end; index++) counts[block * perBlock + index] = width.get(view, 0, index);
  }
  return counts;
}
