/** What `tsvm image ls` and `cat` are made of: lists of directories, and content of files, by path. */
import { ImagePathError } from "./errors.ts";
import type { FileNode, FileSystem, FileType } from "./filesystem.ts";
import { utf8 } from "./decode.ts";
import { resolvePath, type PathOptions } from "./path.ts";

/** One line of `ls -l`. */
export interface Listing {
  readonly name: string;
  readonly type: FileType;
  /** Permission bits, at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly links: number;
  readonly inode: number;
  /** Of a symbolic link. */
  readonly target?: string;
  /** Of a device node. */
  readonly device?: { readonly major: number; readonly minor: number };
}

/**
 * What a directory holds, in the order of the disk; of anything else, itself.
 * @throws {ImagePathError} if there is no such thing. @throws {FilesystemError} if it is damaged.
 */
export function* listDirectory(fs: FileSystem, path: string): Generator<Listing> {
  const node = resolvePath(fs, path);
  if (node.type !== "directory") {
    yield listing(path, node);
    return;
  }
  for (const entry of node.entries()) yield listing(entry.name, entry.node());
}

export function statPath(fs: FileSystem, path: string, options?: PathOptions): Listing {
  return listing(path, resolvePath(fs, path, options));
}

const ZEROS = new Uint8Array(1024 * 1024);

/**
 * The content of a file from its first to its last byte, in chunks of at most 1 MiB, holes as zeros. Do not write to them.
 * @throws {ImagePathError} if there is no such file. @throws {FilesystemError} if it is damaged.
 */
export function* readFile(fs: FileSystem, path: string): Generator<Uint8Array> {
  yield* withZeros(fileAt(fs, path), 0);
}

function* withZeros(node: FileNode, start: number, end = node.size): Generator<Uint8Array> {
  let offset = start;
  for (const piece of node.content(start, end)) {
    yield* zeros(piece.offset - offset);
    yield piece.bytes;
    offset = piece.offset + piece.bytes.length;
  }
  yield* zeros(end - offset);
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length)
    yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
}

/** The file at `path`. @throws {ImagePathError} if there is none. */
export function fileAt(fs: FileSystem, path: string): FileNode {
  const node = resolvePath(fs, path);
  if (node.type === "directory") throw new ImagePathError(fs.name, path, "is-a-directory");
  if (node.type !== "file") throw new ImagePathError(fs.name, path, "not-a-file");
  return node;
}

/** Bytes [offset, offset + length) of a file; fewer where it ends. */
export function readRange(node: FileNode, offset: number, length: number): Uint8Array {
  const end = Math.min(node.size, offset + length);
  const bytes = new Uint8Array(Math.max(0, end - offset));
  for (const piece of node.content(offset, end)) bytes.set(piece.bytes, piece.offset - offset);
  return bytes;
}

/** A small file as text. @throws {ImagePathError} if it is larger than `limit` bytes. */
export function readText(fs: FileSystem, path: string, limit: number): string {
  const node = fileAt(fs, path);
  if (node.size > limit) throw new ImagePathError(fs.name, path, "too-large");
  return utf8(readRange(node, 0, node.size));
}

function listing(name: string, node: FileNode): Listing {
  const { type, mode, uid, gid, size, mtime, links, inode, device } = node;
  return {
    name,
    type,
    mode,
    uid,
    gid,
    size,
    mtime,
    links,
    inode,
    ...(type === "symlink" ? { target: node.target() } : {}),
    ...(device === undefined ? {} : { device }),
  };
}
