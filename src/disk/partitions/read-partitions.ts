import type { BlockReader } from "../source/block-reader.ts";
import { readGpt } from "./gpt.ts";
import { isProtective, readMbr } from "./mbr.ts";
import type { PartitionTable } from "./partition.ts";

/**
 * The partition table of a disk.
 * @throws {FilesystemError} if it is damaged beyond use.
 */
export function readPartitions(reader: BlockReader): PartitionTable {
  const mbr = readMbr(reader);
  // A GPT that an MBR with partitions of its own stands before is left over from former times: Linux decides the same.
  if (mbr !== undefined && !isProtective(mbr)) return mbr;
  const gpt = readGpt(reader);
  if (gpt !== undefined) return gpt;
  if (mbr !== undefined) {
    return {
      ...mbr,
      partitions: [],
      warnings: [...mbr.warnings, "the MBR announces a GPT that is not there"],
    };
  }
  return { scheme: "none", partitions: [], warnings: [] };
}
