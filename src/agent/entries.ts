/** Files and directories in frames. An entry names itself only: where it belongs follows from the directories entered and left. */
import { protocolError } from "./errors.ts";
import { encodeFrame, text, u32, u64 } from "./frames.ts";
import { FrameType } from "./protocol.ts";

export type EntryKind = "file" | "directory" | "symlink";

export interface Entry {
  readonly kind: EntryKind;
  /** Bytes, as file names are. */
  readonly name: Buffer;
  /** Permission bits. */
  readonly mode: number;
  /** ms since 1970. */
  readonly modified: number;
  /** Bytes of a file, as far as known. */
  readonly size: number;
  /** What a symbolic link says. */
  readonly target: Buffer;
}

const KINDS: readonly EntryKind[] = ["file", "directory", "symlink"];
/** kind, mode, nanoseconds, seconds, size. */
const FIXED = 4 + 4 + 4 + 8 + 8;
const LONGEST_NAME = 255;
const LONGEST_TARGET = 4096;
const SLASH = 0x2f;
const NO_BYTES = Buffer.alloc(0);

export function encodeEntry(entry: Omit<Entry, "target"> & { readonly target?: Buffer }): Buffer {
  const seconds = Math.floor(entry.modified / 1000);
  return encodeFrame(
    FrameType.Entry,
    u32(KINDS.indexOf(entry.kind) + 1),
    u32(entry.mode & 0o7777),
    u32(Math.min(Math.round((entry.modified - seconds * 1000) * 1e6), 999_999_999)),
    u64(BigInt.asUintN(64, BigInt(seconds))),
    u64(BigInt(entry.size)),
    text(entry.name),
    text(entry.target ?? NO_BYTES),
  );
}

/** Throws an AgentError for what is no entry, or has a name that could lead elsewhere. */
export function decodeEntry(payload: Buffer): Entry {
  const kind = payload.length > FIXED ? KINDS[payload.readUInt32LE(0) - 1] : undefined;
  const nameEnd = payload.indexOf(0, FIXED);
  const targetEnd = nameEnd < 0 ? -1 : payload.indexOf(0, nameEnd + 1);
  if (kind === undefined || targetEnd !== payload.length - 1)
    throw protocolError("an entry that makes no sense");
  const name = payload.subarray(FIXED, nameEnd);
  const target = payload.subarray(nameEnd + 1, targetEnd);
  const nanoseconds = payload.readUInt32LE(8);
  const seconds = Number(payload.readBigInt64LE(12));
  if (!isName(name)) throw protocolError("a file with a bad name");
  if (target.length > LONGEST_TARGET || (kind === "symlink") !== target.length > 0)
    throw protocolError("a bad symbolic link");
  // What a Date can hold; file systems hold less.
  const modified = seconds * 1000 + nanoseconds / 1e6;
  return {
    kind,
    name,
    mode: payload.readUInt32LE(4) & 0o7777,
    modified: Math.abs(modified) <= 8.64e15 ? modified : 0,
    size: Number(payload.readBigUInt64LE(20)),
    target,
  };
}

/** One component of a path, which stays where it is. */
function isName(name: Buffer): boolean {
  const text = name.toString("latin1");
  return (
    name.length > 0 && name.length <= LONGEST_NAME && !name.includes(SLASH) && text !== "." && text !== ".."
  );
}
