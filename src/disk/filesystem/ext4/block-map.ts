/** Where the content of an inode lies: as runs of blocks, whether an extent tree or a block map says so. */
import { extentRuns } from "./extents.ts";
import { INODE_EXTENTS } from "./features.ts";
import { indirectRuns } from "./indirect.ts";
import type { Inode } from "./inode.ts";
import type { ExtVolume } from "./volume.ts";

/** Consecutive blocks of a file that are consecutive on the disk. */
export interface Run {
  /** Block of the file. */
  readonly logical: number;
  /** Block of the disk. */
  readonly physical: number;
  readonly count: number;
}

/**
 * The runs of blocks [first, end) of the file, in ascending order. What is in none is a hole or was never written: zeros.
 * Takes at most a few steps per block of the range, whatever the disk says.
 */
export function* runsOf(volume: ExtVolume, inode: Inode, first: number, end: number): Generator<Run> {
  const all = (inode.flags & INODE_EXTENTS) !== 0 ? extentRuns : indirectRuns;
  let pending: Run | undefined;
  for (const run of all(volume, inode, first, end)) {
    const start = Math.max(run.logical, first);
    const stop = Math.min(run.logical + run.count, end);
    if (start >= stop) continue;
    const clipped = { logical: start, physical: run.physical + (start - run.logical), count: stop - start };
    if (pending !== undefined && continues(pending, clipped)) {
      pending = { ...pending, count: pending.count + clipped.count };
      continue;
    }
    if (pending !== undefined) yield pending;
    pending = clipped;
  }
  if (pending !== undefined) yield pending;
}

function continues(a: Run, b: Run): boolean {
  return a.logical + a.count === b.logical && a.physical + a.count === b.physical;
}
