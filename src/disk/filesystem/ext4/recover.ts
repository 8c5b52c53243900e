/** Finds the journal of a file system that was not unmounted, and shows the file system as it is after recovery. */
import type { BlockReader } from "../../source/block-reader.ts";
import { Journal } from "./journal.ts";
import { RecoveredReader } from "./recovered-reader.ts";
import { runsOf, type Run } from "./block-map.ts";
import { INODE_INLINE_DATA } from "./features.ts";
import { readInode } from "./inode.ts";
import { damaged, type ExtVolume } from "./volume.ts";

/** mke2fs makes journals of 262144 blocks at most unless told otherwise. A bound for time and memory. */
const MAX_JOURNAL_BLOCKS = 1_048_576;

export interface Recovery {
  readonly reader: BlockReader;
  readonly warnings: readonly string[];
}

/** @throws {FilesystemError} if the journal is damaged in a way in which Linux would not mount the file system either. */
export function recover(volume: ExtVolume): Recovery {
  const { reader, superblock } = volume;
  if (superblock.journalInode === 0) {
    return {
      reader,
      warnings: [
        "it was not unmounted, and its journal is on another device: what is read may be out of date",
      ],
    };
  }
  const inode = readInode(volume, superblock.journalInode);
  const blocks = Math.floor(inode.size / superblock.blockSize);
  if (inode.type !== "file" || (inode.flags & INODE_INLINE_DATA) !== 0 || blocks > MAX_JOURNAL_BLOCKS) {
    throw damaged(reader.name, "its journal is no file that could be one");
  }
  const runs = [...runsOf(volume, inode, 0, blocks)];
  const journal = new Journal(volume, blocks, (block) => physicalBlock(runs, block));
  const { replaced, warnings } = journal.scan();
  if (replaced.size === 0) return { reader, warnings };
  return { reader: new RecoveredReader(reader, superblock.blockSize, replaced), warnings };
}

/** The runs are in ascending order. */
function physicalBlock(runs: readonly Run[], logical: number): number | undefined {
  let low = 0;
  let high = runs.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const run = runs[middle]!;
    if (logical < run.logical) high = middle - 1;
    else if (logical >= run.logical + run.count) low = middle + 1;
    else return run.physical + (logical - run.logical);
  }
  return undefined;
}
