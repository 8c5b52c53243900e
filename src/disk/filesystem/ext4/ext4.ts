/** ext2, ext3 and ext4, read-only. Kernel document filesystems/ext4. */
import type { BlockReader } from "../../source/block-reader.ts";
import { utf8 } from "../decode.ts";
import { FilesystemError } from "../errors.ts";
import type { DirectoryEntry, FileNode, FileSystem, FileType, Piece } from "../filesystem.ts";
import { runsOf } from "./block-map.ts";
import { directoryEntries } from "./directory.ts";
import { INCOMPAT_RECOVER, INODE_ENCRYPT, INODE_INLINE_DATA } from "./features.ts";
import { BLOCK_AREA_SIZE, deviceNumber, readInode, type Inode } from "./inode.ts";
import { inlineParts } from "./inline-data.ts";
import { recover } from "./recover.ts";
import { announcedSize, readSuperblock } from "./superblock.ts";
import { damaged, type ExtVolume } from "./volume.ts";

export { isExt } from "./superblock.ts";

const ROOT_INODE = 2;
const PIECE_SIZE = 1024 * 1024;
const MAX_TARGET = 4096;

/**
 * Opens the file system on `reader`. If it was not unmounted, what its journal holds is taken into account, in memory.
 * @throws {FilesystemError} if it is damaged, or has features that tsvm cannot read.
 */
export function openExt4(reader: BlockReader): FileSystem {
  let volume: ExtVolume = { reader, superblock: readSuperblock(reader) };
  const warnings: string[] = [];
  if ((volume.superblock.incompat & INCOMPAT_RECOVER) !== 0) {
    const recovery = recover(volume);
    warnings.push(...recovery.warnings);
    // The journal may hold a newer superblock too.
    volume = { reader: recovery.reader, superblock: readSuperblock(recovery.reader) };
  }
  const { superblock } = volume;
  if (announcedSize(superblock) > reader.size) {
    warnings.push(
      `the file system is larger (${announcedSize(superblock)} bytes) than where it lies (${reader.size})`,
    );
  }
  const root = openNode(volume, ROOT_INODE);
  if (root.type !== "directory") throw damaged(reader.name, "its root is no directory");
  return {
    type: superblock.type,
    name: reader.name,
    label: superblock.label,
    uuid: superblock.uuid,
    warnings,
    root,
  };
}

function openNode(volume: ExtVolume, number: number): Ext4Node {
  return new Ext4Node(volume, readInode(volume, number));
}

class Ext4Node implements FileNode {
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly links: number;
  readonly inode: number;
  readonly device: FileNode["device"];
  readonly #volume: ExtVolume;
  readonly #inode: Inode;

  constructor(volume: ExtVolume, inode: Inode) {
    this.#volume = volume;
    this.#inode = inode;
    this.type = inode.type;
    this.mode = inode.mode;
    this.uid = inode.uid;
    this.gid = inode.gid;
    this.size = inode.size;
    this.mtime = inode.mtime;
    this.links = inode.links;
    this.inode = inode.number;
    if (inode.type === "char-device" || inode.type === "block-device") this.device = deviceNumber(inode);
  }

  *entries(): Generator<DirectoryEntry> {
    this.#refuseEncrypted();
    for (const { name, inode } of directoryEntries(this.#volume, this.#inode)) {
      yield { name, node: () => openNode(this.#volume, inode) };
    }
  }

  lookup(name: string): FileNode | undefined {
    this.#refuseEncrypted();
    for (const entry of directoryEntries(this.#volume, this.#inode)) {
      if (entry.name === name) return openNode(this.#volume, entry.inode);
    }
    return undefined;
  }

  *content(start = 0, end = this.size): Generator<Piece> {
    this.#refuseEncrypted();
    const stop = Math.min(end, this.size);
    if ((this.#inode.flags & INODE_INLINE_DATA) !== 0) {
      yield* this.#inlineContent(start, stop);
      return;
    }
    const { reader, superblock } = this.#volume;
    const { blockSize } = superblock;
    const firstBlock = Math.floor(start / blockSize);
    for (const run of runsOf(this.#volume, this.#inode, firstBlock, Math.ceil(stop / blockSize))) {
      const runStart = run.logical * blockSize;
      const runEnd = Math.min(stop, runStart + run.count * blockSize);
      for (let offset = Math.max(start, runStart); offset < runEnd;) {
        const length = Math.min(PIECE_SIZE, runEnd - offset);
        yield { offset, bytes: reader.bytes(run.physical * blockSize + (offset - runStart), length) };
        offset += length;
      }
    }
  }

  *#inlineContent(start: number, end: number): Generator<Piece> {
    const bytes = Buffer.concat(inlineParts(this.#volume, this.#inode)).subarray(start, end);
    if (bytes.length > 0) yield { offset: start, bytes };
  }

  target(): string {
    const { blockArea, flags, number } = this.#inode;
    const { name } = this.#volume.reader;
    if (this.size === 0 || this.size > MAX_TARGET) {
      throw damaged(name, `the symbolic link with inode ${number} has an impossible length`);
    }
    this.#refuseEncrypted();
    if (this.size < BLOCK_AREA_SIZE && (flags & INODE_INLINE_DATA) === 0) {
      return utf8(blockArea.subarray(0, this.size));
    }
    const bytes = new Uint8Array(this.size);
    for (const piece of this.content()) bytes.set(piece.bytes, piece.offset);
    return utf8(bytes);
  }

  #refuseEncrypted(): void {
    if ((this.#inode.flags & INODE_ENCRYPT) === 0) return;
    throw new FilesystemError(
      this.#volume.reader.name,
      `inode ${this.inode} is encrypted, which tsvm cannot read`,
    );
  }
}
