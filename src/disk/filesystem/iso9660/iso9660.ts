/** ISO 9660 (ECMA-119), read-only, with Rock Ridge or Joliet: images of CDs and DVDs, which installers and live systems come in. */
import { bytesUpTo, viewOf, type BlockReader } from "../../source/block-reader.ts";
import { paddedText } from "../decode.ts";
import { FilesystemError } from "../errors.ts";
import type { DirectoryEntry, FileNode, FileSystem, FileType, Piece } from "../filesystem.ts";
import { jolietName, parseRecord, plainName, type DirectoryRecord, type Extent } from "./directory-record.ts";
import { parseRockRidge, suspSkip, type RockRidge } from "./rock-ridge.ts";

const SECTOR_SIZE = 2048;
const FIRST_DESCRIPTOR = 16;
const MAX_DESCRIPTORS = 64;
const PRIMARY = 1;
const SUPPLEMENTARY = 2;
const TERMINATOR = 255;
const ROOT_RECORD_OFFSET = 156;
const ROOT_RECORD_SIZE = 34;
const PIECE_SIZE = 1024 * 1024;
const MAX_DIRECTORY_SIZE = 16 * 1024 * 1024;
/** Of a file in several: each has up to 4 GiB. */
const MAX_EXTENTS = 1000;

const TYPES: Readonly<Record<number, FileType>> = {
  0x1: "fifo",
  0x2: "char-device",
  0x4: "directory",
  0x6: "block-device",
  0x8: "file",
  0xa: "symlink",
  0xc: "socket",
};

export function isIso9660(reader: BlockReader): boolean {
  return hasMagic(bytesUpTo(reader, FIRST_DESCRIPTOR * SECTOR_SIZE, SECTOR_SIZE));
}

function hasMagic(descriptor: Uint8Array): boolean {
  return Buffer.from(descriptor.subarray(1, 6)).toString("latin1") === "CD001";
}

type NameStyle = "plain" | "joliet" | "rock-ridge";

interface IsoVolume {
  readonly reader: BlockReader;
  readonly blockSize: number;
  readonly style: NameStyle;
  /** Of Rock Ridge. */
  readonly skip: number;
}

/** @throws {FilesystemError} if it is damaged. */
export function openIso9660(reader: BlockReader): FileSystem {
  const { primary, joliet } = readDescriptors(reader);
  const view = viewOf(primary);
  const blockSize = view.getUint16(128, true);
  if (![512, 1024, 2048].includes(blockSize)) throw damaged(reader, "impossible block size");
  const primaryRoot = rootRecord(reader, primary);
  const plain: IsoVolume = { reader, blockSize, style: "plain", skip: 0 };
  // The first record of the root, `.`, says whether there is Rock Ridge.
  const [self] = records(plain, [primaryRoot.extent]);
  const skip = self === undefined ? undefined : suspSkip(self.systemUse);
  let volume = plain;
  let root = primaryRoot;
  if (skip !== undefined) volume = { ...plain, style: "rock-ridge", skip };
  else if (joliet !== undefined) {
    volume = { ...plain, style: "joliet" };
    root = rootRecord(reader, joliet);
  }
  return {
    type: "iso9660",
    name: reader.name,
    label: paddedText(primary.subarray(40, 72)),
    uuid: dateUuid(primary.subarray(830, 846)) ?? dateUuid(primary.subarray(813, 829)),
    warnings: [],
    root: new IsoNode(volume, [root.extent], root, undefined),
  };
}

function readDescriptors(reader: BlockReader): { primary: Uint8Array; joliet: Uint8Array | undefined } {
  let primary: Uint8Array | undefined;
  let joliet: Uint8Array | undefined;
  for (let index = 0; index < MAX_DESCRIPTORS; index++) {
    const descriptor = reader.bytes((FIRST_DESCRIPTOR + index) * SECTOR_SIZE, SECTOR_SIZE);
    if (!hasMagic(descriptor) || descriptor[0] === TERMINATOR) break;
    if (descriptor[0] === PRIMARY) primary ??= descriptor;
    // Escape sequences for UCS-2: %/@, %/C, %/E.
    const escape = Buffer.from(descriptor.subarray(88, 91)).toString("latin1");
    if (descriptor[0] === SUPPLEMENTARY && /^%\/[@CE]$/.test(escape)) joliet ??= descriptor;
  }
  if (primary === undefined) throw damaged(reader, "no volume descriptor");
  return { primary, joliet };
}

function rootRecord(reader: BlockReader, descriptor: Uint8Array): DirectoryRecord {
  const record = parseRecord(descriptor.subarray(ROOT_RECORD_OFFSET, ROOT_RECORD_OFFSET + ROOT_RECORD_SIZE));
  if (record === undefined) throw damaged(reader, "no root directory");
  return record;
}

/** All records of a directory, `.` and `..` first. */
function* records({ reader, blockSize }: IsoVolume, extents: readonly Extent[]): Generator<DirectoryRecord> {
  const total = extents.reduce((sum, { size }) => sum + size, 0);
  if (total > MAX_DIRECTORY_SIZE) throw damaged(reader, "a directory is too large");
  for (const { block, size } of extents) {
    for (let done = 0; done < size; done += SECTOR_SIZE) {
      const sector = reader.bytes(block * blockSize + done, Math.min(SECTOR_SIZE, size - done));
      for (let at = 0; at < sector.length;) {
        const length = sector[at]!;
        // None fits any more: the next one is in the next sector.
        if (length === 0) break;
        const record =
          at + length <= sector.length ? parseRecord(sector.subarray(at, at + length)) : undefined;
        if (record === undefined) throw damaged(reader, "an entry of a directory contradicts itself");
        yield record;
        at += length;
      }
    }
  }
}

class IsoNode implements FileNode {
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly links: number;
  readonly inode: number;
  readonly device: FileNode["device"];
  readonly #volume: IsoVolume;
  readonly #extents: readonly Extent[];
  readonly #rockRidge: RockRidge | undefined;

  constructor(
    volume: IsoVolume,
    extents: readonly Extent[],
    record: DirectoryRecord,
    rockRidge: RockRidge | undefined,
  ) {
    this.#volume = volume;
    this.#extents = extents;
    this.#rockRidge = rockRidge;
    const stMode = rockRidge?.mode;
    const recordType = record.directory ? "directory" : "file";
    this.type =
      rockRidge?.childBlock !== undefined ? "directory" : (TYPES[(stMode ?? 0) >> 12] ?? recordType);
    // What Rock Ridge calls a directory must be one.
    if (this.type === "directory" && recordType === "file" && rockRidge?.childBlock === undefined)
      this.type = "file";
    this.mode = stMode === undefined ? (record.directory ? 0o555 : 0o444) : stMode & 0o7777;
    this.uid = rockRidge?.uid ?? 0;
    this.gid = rockRidge?.gid ?? 0;
    this.links = rockRidge?.links ?? 1;
    this.mtime = rockRidge?.mtime ?? record.mtime;
    this.inode = extents[0]?.block ?? 0;
    this.device = rockRidge?.device;
    const bytes = extents.reduce((sum, { size }) => sum + size, 0);
    this.size = this.type === "symlink" ? Buffer.byteLength(rockRidge?.target ?? "") : bytes;
  }

  *entries(): Generator<DirectoryEntry> {
    const volume = this.#volume;
    let pending: Extent[] = [];
    for (const record of records(volume, this.#extents)) {
      const isSelfOrParent = record.nameBytes.length === 1 && record.nameBytes[0]! <= 1;
      if (isSelfOrParent) continue;
      if (pending.length >= MAX_EXTENTS) throw damaged(volume.reader, "a file has too many extents");
      pending.push(record.extent);
      if (record.continues) continue;
      const extents = pending;
      pending = [];
      const rockRidge = volume.style === "rock-ridge" ? this.#readRockRidge(record) : undefined;
      if (rockRidge?.relocated === true) continue;
      const name = (rockRidge?.name ?? this.#recordName(record)).replaceAll(/[/\0]/g, "_");
      yield { name, node: () => this.#child(record, extents, rockRidge) };
    }
  }

  lookup(name: string): FileNode | undefined {
    const exact = this.#volume.style === "rock-ridge";
    const wanted = exact ? name : name.toLowerCase();
    for (const entry of this.entries()) {
      if ((exact ? entry.name : entry.name.toLowerCase()) === wanted) return entry.node();
    }
    return undefined;
  }

  *content(start = 0, end = this.size): Generator<Piece> {
    const { reader, blockSize } = this.#volume;
    if (this.#rockRidge?.compressed === true) {
      throw new FilesystemError(reader.name, "has files compressed with zisofs, which tsvm cannot read");
    }
    const stop = Math.min(end, this.size);
    let extentStart = 0;
    for (const { block, size } of this.#extents) {
      const extentEnd = Math.min(stop, extentStart + size);
      for (let offset = Math.max(start, extentStart); offset < extentEnd;) {
        const length = Math.min(PIECE_SIZE, extentEnd - offset);
        yield { offset, bytes: reader.bytes(block * blockSize + (offset - extentStart), length) };
        offset += length;
      }
      extentStart += size;
    }
  }

  target(): string {
    const target = this.#rockRidge?.target;
    if (target === undefined || target === "")
      throw damaged(this.#volume.reader, "a symbolic link points nowhere");
    return target;
  }

  #recordName({ nameBytes }: DirectoryRecord): string {
    return this.#volume.style === "joliet" ? jolietName(nameBytes) : plainName(nameBytes);
  }

  #readRockRidge({ systemUse }: DirectoryRecord): RockRidge {
    const { reader, blockSize, skip } = this.#volume;
    return parseRockRidge(systemUse, skip, ({ block, offset, size }) =>
      reader.bytes(block * blockSize + offset, size),
    );
  }

  #child(record: DirectoryRecord, extents: readonly Extent[], rockRidge: RockRidge | undefined): IsoNode {
    if (rockRidge?.childBlock === undefined) return new IsoNode(this.#volume, extents, record, rockRidge);
    // Its own first record, `.`, has its size.
    const probe = [{ block: rockRidge.childBlock, size: SECTOR_SIZE }];
    const [self] = records(this.#volume, probe);
    if (self === undefined) throw damaged(this.#volume.reader, "a moved directory is not there");
    return new IsoNode(this.#volume, [self.extent], self, {
      ...rockRidge,
      mode: this.#readRockRidge(self).mode,
    });
  }
}

/** As blkid makes a UUID of the date of modification or creation; undefined if there is no date. */
function dateUuid(bytes: Uint8Array): string | undefined {
  const digits = Buffer.from(bytes).toString("latin1");
  if (!/^\d{16}$/.test(digits) || /^0+$/.test(digits)) return undefined;
  return digits.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3-$4-$5-$6-$7");
}

function damaged({ name }: BlockReader, what: string): FilesystemError {
  return new FilesystemError(name, `damaged ISO 9660: ${what}`);
}
