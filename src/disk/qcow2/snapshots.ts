/** The snapshot table: a list of variable-length entries, each with an L1 table of its own. */
import { DiskError } from "../errors.ts";
import type { ImageFile } from "../image-file.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import { ENTRY_BYTES, MAX_L1_BYTES, MAX_SNAPSHOT_TABLE_BYTES } from "./format.ts";
import type { Qcow2Header } from "./header.ts";

export interface Qcow2Snapshot {
  readonly id: string;
  readonly name: string;
  readonly l1Offset: number;
  readonly l1Entries: number;
  /** When it was taken: seconds since 1970. */
  readonly seconds: number;
  /** How long the guest had run, in nanoseconds. */
  readonly guestNanoseconds: number;
  /** Bytes of saved machine state; 0 for a snapshot of the disk alone. */
  readonly vmStateBytes: number;
  /** Bytes; undefined where the image does not say. */
  readonly diskSize: number | undefined;
}

export interface SnapshotTable {
  readonly snapshots: readonly Qcow2Snapshot[];
  /** What the table takes in the file. */
  readonly bytes: number;
}

const FIXED_BYTES = 40;
/** Of the extra data: 64-bit VM state size, virtual disk size. */
const KNOWN_EXTRA_BYTES = 16;
const MAX_EXTRA_BYTES = 1024;
/** Fixed part, extra data, and two strings of 64 KiB. */
const MAX_ENTRY_BYTES = FIXED_BYTES + MAX_EXTRA_BYTES + 2 * 65_535 + 8;

/** Throws a DiskError for a table that is not well-formed, and an ImageIoError. */
export function readSnapshots(file: ImageFile, header: Qcow2Header): SnapshotTable {
  const snapshots: Qcow2Snapshot[] = [];
  if (header.snapshotCount === 0) return { snapshots, bytes: 0 };
  const native = allocateNative(MAX_ENTRY_BYTES);
  const view = new DataView(native.buffer);
  const damaged = (problem: string): DiskError =>
    new DiskError(
      file.path,
      `is a damaged qcow2 image: snapshot ${snapshots.length}: ${problem}`,
      `tsvm image check ${file.path} tells more`,
    );
  let at = header.snapshotsOffset;
  for (let index = 0; index < header.snapshotCount; index++) {
    if (at + FIXED_BYTES > file.size) throw damaged("it lies behind the end of the file");
    if (at - header.snapshotsOffset > MAX_SNAPSHOT_TABLE_BYTES) throw damaged("the table is too long");
    file.read(native.address, FIXED_BYTES, at);
    const extra = view.getUint32(36);
    if (extra > MAX_EXTRA_BYTES) throw damaged(`${extra} bytes of extra data`);
    const idBytes = view.getUint16(12);
    const nameBytes = view.getUint16(14);
    const length = FIXED_BYTES + extra + idBytes + nameBytes;
    if (at + length > file.size) throw damaged("it lies behind the end of the file");
    file.read(native.address, length, at);
    const l1Offset = readUint64(view, 0);
    const l1Entries = view.getUint32(8);
    const l1Bytes = l1Entries * ENTRY_BYTES;
    if (l1Bytes > MAX_L1_BYTES) throw damaged(`an L1 table of ${l1Bytes} bytes`);
    if (l1Offset % header.clusterSize !== 0 || (l1Bytes > 0 && l1Offset === 0)) {
      throw damaged(`an L1 table at ${l1Offset}`);
    }
    if (l1Offset + l1Bytes > Math.ceil(file.size / header.clusterSize) * header.clusterSize) {
      throw damaged("its L1 table lies behind the end of the file");
    }
    const strings = FIXED_BYTES + extra;
    snapshots.push({
      id: text(native.buffer, strings, idBytes),
      name: text(native.buffer, strings + idBytes, nameBytes),
      l1Offset,
      l1Entries,
      seconds: view.getUint32(16),
      guestNanoseconds: readUint64(view, 24),
      vmStateBytes: extra >= ENTRY_BYTES ? readUint64(view, FIXED_BYTES) : view.getUint32(32),
      diskSize: extra >= KNOWN_EXTRA_BYTES ? readUint64(view, FIXED_BYTES + 8) : undefined,
    });
    at += Math.ceil(length / 8) * 8;
  }
  return { snapshots, bytes: at - header.snapshotsOffset };
}

function readUint64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
}

function text(buffer: ArrayBuffer, at: number, length: number): string {
  return new TextDecoder()
    .decode(new Uint8Array(buffer, at, length))
    .replaceAll(/[\p{Cc}\p{Cf}\p{Cs}]/gu, "?");
}
