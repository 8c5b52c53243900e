/** What all parts of an ext4 reader share: the bytes, the superblock, and block addressing. */
import type { BlockReader } from "../../source/block-reader.ts";
import { FilesystemError } from "../errors.ts";
import type { Superblock } from "./superblock.ts";

export interface ExtVolume {
  /** The file system with the changes of its journal in effect. */
  readonly reader: BlockReader;
  readonly superblock: Superblock;
}

/** A metadata block. */
export function readBlock(volume: ExtVolume, block: number, what: string): Uint8Array {
  checkBlocks(volume, block, 1, what);
  const { blockSize } = volume.superblock;
  return volume.reader.bytes(block * blockSize, blockSize);
}

/** Block 0, or those of the first superblock, belong to no file. */
export function checkBlocks(
  { reader, superblock }: ExtVolume,
  block: number,
  count: number,
  what: string,
): void {
  if (block > superblock.firstDataBlock && block + count <= superblock.blocks) return;
  throw damaged(reader.name, `${what} refers to block ${block}, which it cannot have`);
}

export function damaged(name: string, what: string): FilesystemError {
  return new FilesystemError(name, `damaged: ${what}`, "repair it: e2fsck -f, on a copy first");
}
