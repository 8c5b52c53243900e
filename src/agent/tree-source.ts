/** Where the files come from that are copied into a guest: the host's file system, or memory. */
import { constants, type BigIntStats, type Dirent } from "node:fs";
import { lstat, open, opendir, readlink, stat, type FileHandle } from "node:fs/promises";
import { ArgumentError } from "../arguments.ts";
import type { Entry } from "./entries.ts";

/** In the order in which the agent wants them: a directory, what is in it, its end. */
export type TreeItem =
  | { readonly type: "directory"; readonly entry: SourceEntry }
  | { readonly type: "leave" }
  | { readonly type: "symlink"; readonly entry: SourceEntry & { readonly target: Buffer } }
  /** `content` may throw a system error: the rest of the file is missing then. */
  | {
      readonly type: "file";
      readonly entry: SourceEntry;
      readonly path: string;
      readonly content: AsyncIterable<Uint8Array>;
    }
  /** What cannot be read. */
  | { readonly type: "problem"; readonly path: string; readonly code: string };

type SourceEntry = Omit<Entry, "kind" | "target">;

/** Files by their paths, relative to where they are put: what is in them, and with `mode` other permissions than 0644. */
export type FilesInMemory = Readonly<
  Record<string, string | Uint8Array | { readonly content: string | Uint8Array; readonly mode?: number }>
>;

const PIECE_BYTES = 64 * 1024;

/**
 * A file, symbolic link or directory with all that is in it. `name` is what the guest is to call it. A link at the top is followed
 * if `follow` is set.
 */
export async function* treeOnHost(path: string, name: string, follow: boolean): AsyncGenerator<TreeItem> {
  const bytes = Buffer.from(path);
  const status = await (follow ? stat(bytes, { bigint: true }) : lstat(bytes, { bigint: true }));
  yield* walk(bytes, Buffer.from(name), status);
}

async function* walk(path: Buffer, name: Buffer, status: BigIntStats): AsyncGenerator<TreeItem> {
  const entry = sourceEntry(name, status);
  if (status.isDirectory()) {
    yield* walkDirectory(path, entry);
  } else if (status.isFile()) {
    yield { type: "file", entry, path: path.toString(), content: contentOf(path) };
  } else if (status.isSymbolicLink()) {
    yield { type: "symlink", entry: { ...entry, target: await readlink(path, "buffer") } };
  } else {
    yield { type: "problem", path: path.toString(), code: "ENOTSUP" };
  }
}

async function* walkDirectory(path: Buffer, entry: SourceEntry): AsyncGenerator<TreeItem> {
  yield { type: "directory", entry };
  try {
    // Its types say string, whatever the encoding is.
    const entries = (await opendir(path as unknown as string, {
      encoding: "buffer" as unknown as BufferEncoding,
    })) as unknown as AsyncIterable<Dirent<Buffer>>;
    for await (const { name } of entries) {
      const inside = Buffer.concat([path, Buffer.from("/"), name]);
      try {
        yield* walk(inside, name, await lstat(inside, { bigint: true }));
      } catch (error) {
        const problem = problemOf(inside, error);
        if (problem !== undefined) yield problem;
      }
    }
  } catch (error) {
    const problem = problemOf(path, error);
    if (problem !== undefined) yield problem;
  }
  yield { type: "leave" };
}

/** Undefined for what has gone meanwhile. Throws what is no error of the file system. */
function problemOf(path: Buffer, error: unknown): TreeItem | undefined {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined || syscall === undefined) throw error;
  return code === "ENOENT" ? undefined : { type: "problem", path: path.toString(), code };
}

function sourceEntry(name: Buffer, status: BigIntStats): SourceEntry {
  return {
    name,
    mode: Number(status.mode & 0o7777n),
    modified: Number(status.mtimeNs / 1000n) / 1000,
    size: Number(status.size),
  };
}

async function* contentOf(path: Buffer): AsyncGenerator<Uint8Array> {
  // Not waiting, in case it became a pipe this moment; and not what a link leads to that took its place.
  const file = await open(path as unknown as string, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    yield* piecesOf(file);
  } finally {
    await file.close();
  }
}

async function* piecesOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(PIECE_BYTES), 0, PIECE_BYTES, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

interface MemoryDirectory {
  readonly directories: Map<string, MemoryDirectory>;
  readonly files: Map<string, { readonly content: Uint8Array; readonly mode: number }>;
}

/** A directory of files that exist in memory only. Throws an ArgumentError for a path that leads elsewhere. */
export function treeInMemory(files: FilesInMemory, name: string): AsyncGenerator<TreeItem> {
  const root: MemoryDirectory = { directories: new Map(), files: new Map() };
  if (typeof files !== "object" || files === null) throw new ArgumentError("files", files, "an object");
  for (const [path, given] of Object.entries(files)) {
    const names = path.split("/");
    if (names.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
      throw new ArgumentError("files", path, "a relative path without . and ..");
    }
    let directory = root;
    for (const part of names.slice(0, -1)) {
      const inside = directory.directories.get(part) ?? { directories: new Map(), files: new Map() };
      directory.directories.set(part, inside);
      directory = inside;
    }
    const { content, mode = 0o644 } = isContent(given) ? { content: given } : given;
    if (!isContent(content)) throw new ArgumentError(`files: ${path}`, content, "a text or a Uint8Array");
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    directory.files.set(names.at(-1)!, { content: bytes, mode });
  }
  return walkMemory(root, name, Date.now());
}

async function* walkMemory(directory: MemoryDirectory, name: string, now: number): AsyncGenerator<TreeItem> {
  const entry = { name: Buffer.from(name), mode: 0o755, modified: now, size: 0 };
  yield { type: "directory", entry };
  for (const [inside, { content, mode }] of directory.files) {
    yield {
      type: "file",
      entry: { name: Buffer.from(inside), mode, modified: now, size: content.length },
      path: inside,
      content: piecesIn(content),
    };
  }
  for (const [inside, below] of directory.directories) yield* walkMemory(below, inside, now);
  yield { type: "leave" };
}

async function* piecesIn(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += PIECE_BYTES) yield content.subarray(at, at + PIECE_BYTES);
}

function isContent(given: unknown): given is string | Uint8Array {
  return typeof given === "string" || given instanceof Uint8Array;
}
