/** Extent trees: kernel document filesystems/ext4/ifork.rst. The root lies in the inode, the other nodes fill a block each. */
import { viewOf } from "../../source/block-reader.ts";
import { crc32c } from "../checksums.ts";
import type { Run } from "./block-map.ts";
import type { Inode } from "./inode.ts";
import { checkBlocks, damaged, readBlock, type ExtVolume } from "./volume.ts";

const MAGIC = 0xf30a;
const HEADER_SIZE = 12;
const ENTRY_SIZE = 12;
const MAX_DEPTH = 5;
/** Longer extents are allocated, but were never written. */
const MAX_WRITTEN = 32_768;
const END_OF_FILE = 2 ** 32;

/** The extents that touch [first, end), in ascending order. */
export function* extentRuns(volume: ExtVolume, inode: Inode, first: number, end: number): Generator<Run> {
  const depth = viewOf(inode.blockArea).getUint16(6, true);
  if (depth > MAX_DEPTH) throw damagedTree(volume, inode, "it is too deep");
  // Nodes without an extent in range cost a step each; a tree that consists of them is no tree.
  const budget = { nodes: 16 + 5 * (end - first) };
  yield* nodeRuns({ volume, inode, first, end, budget }, inode.blockArea, depth, 0, END_OF_FILE);
}

interface Walk {
  readonly volume: ExtVolume;
  readonly inode: Inode;
  readonly first: number;
  readonly end: number;
  readonly budget: { nodes: number };
}

/** A node whose entries must lie in [low, high) of the file. */
function* nodeRuns(walk: Walk, node: Uint8Array, depth: number, low: number, high: number): Generator<Run> {
  const { volume, inode } = walk;
  if (walk.budget.nodes-- <= 0) throw damagedTree(volume, inode, "it has too many nodes");
  const view = viewOf(node);
  const entries = view.getUint16(2, true);
  if (view.getUint16(0, true) !== MAGIC) throw damagedTree(volume, inode, "no magic number");
  if (view.getUint16(6, true) !== depth) throw damagedTree(volume, inode, "a node is at the wrong depth");
  if (HEADER_SIZE + entries * ENTRY_SIZE > node.length)
    throw damagedTree(volume, inode, "a node has too many entries");

  let reached = low;
  for (let index = 0; index < entries; index++) {
    const at = HEADER_SIZE + index * ENTRY_SIZE;
    const logical = view.getUint32(at, true);
    if (logical < reached || logical >= high)
      throw damagedTree(volume, inode, "its entries are out of order");
    if (depth === 0) {
      const length = view.getUint16(at + 4, true);
      const count = length > MAX_WRITTEN ? length - MAX_WRITTEN : length;
      const physical = view.getUint32(at + 8, true) + view.getUint16(at + 6, true) * 2 ** 32;
      if (count === 0 || logical + count > high)
        throw damagedTree(volume, inode, "an extent has an impossible length");
      checkBlocks(volume, physical, count, `inode ${inode.number}`);
      reached = logical + count;
      if (logical >= walk.end) return;
      if (length <= MAX_WRITTEN && reached > walk.first) yield { logical, physical, count };
    } else {
      if (logical >= walk.end) return;
      const next = index + 1 < entries ? view.getUint32(at + ENTRY_SIZE, true) : high;
      reached = logical + 1;
      if (next <= walk.first) continue;
      const block = view.getUint32(at + 4, true) + view.getUint16(at + 8, true) * 2 ** 32;
      const child = readBlock(volume, block, `the extent tree of inode ${inode.number}`);
      verify(volume, inode, child);
      yield* nodeRuns(walk, child, depth - 1, logical, Math.min(next, high));
    }
  }
}

/** The checksum stands behind the last place for an entry. */
function verify(volume: ExtVolume, inode: Inode, node: Uint8Array): void {
  if (!volume.superblock.hasChecksums) return;
  const view = viewOf(node);
  const tail = HEADER_SIZE + view.getUint16(4, true) * ENTRY_SIZE;
  if (tail + 4 > node.length) throw damagedTree(volume, inode, "a node has too many places");
  if (view.getUint32(tail, true) !== crc32c(inode.checksumSeed, node.subarray(0, tail))) {
    throw damagedTree(volume, inode, "wrong checksum");
  }
}

function damagedTree({ reader }: ExtVolume, inode: Inode, what: string): Error {
  return damaged(reader.name, `extent tree of inode ${inode.number}: ${what}`);
}
