/** Block maps of ext2 and ext3: twelve blocks in the inode, then blocks of block numbers, up to three levels of them. */
import { viewOf } from "../../source/block-reader.ts";
import type { Run } from "./block-map.ts";
import type { Inode } from "./inode.ts";
import { checkBlocks, readBlock, type ExtVolume } from "./volume.ts";

const DIRECT_BLOCKS = 12;
const LEVELS = 3;

interface Walk {
  readonly volume: ExtVolume;
  readonly inode: Inode;
  readonly first: number;
  readonly end: number;
}

/** The mapped blocks of [first, end), one by one, in ascending order. */
export function* indirectRuns(volume: ExtVolume, inode: Inode, first: number, end: number): Generator<Run> {
  const walk = { volume, inode, first, end };
  const view = viewOf(inode.blockArea);
  for (let index = 0; index < DIRECT_BLOCKS; index++) {
    yield* blockRuns(walk, view.getUint32(index * 4, true), 0, index);
  }
  const perBlock = volume.superblock.blockSize / 4;
  let start = DIRECT_BLOCKS;
  for (let level = 1; level <= LEVELS; level++) {
    yield* blockRuns(walk, view.getUint32((DIRECT_BLOCKS + level - 1) * 4, true), level, start);
    start += perBlock ** level;
  }
}

/** @param level 0 for content, else how many levels of block numbers there are. @param start The first block of the file below. */
function* blockRuns(walk: Walk, block: number, level: number, start: number): Generator<Run> {
  const { volume, inode, first, end } = walk;
  const perBlock = volume.superblock.blockSize / 4;
  const span = perBlock ** level;
  if (block === 0 || start >= end || start + span <= first) return;
  if (level === 0) {
    checkBlocks(volume, block, 1, `inode ${inode.number}`);
    yield { logical: start, physical: block, count: 1 };
    return;
  }
  const view = viewOf(readBlock(volume, block, `the block map of inode ${inode.number}`));
  const below = span / perBlock;
  const from = Math.max(0, Math.floor((first - start) / below));
  for (let index = from; index < perBlock && start + index * below < end; index++) {
    yield* blockRuns(walk, view.getUint32(index * 4, true), level - 1, start + index * below);
  }
}
