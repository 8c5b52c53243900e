/** GUID partition tables: UEFI 2.10, chapter 5.3. */
import { crc32 } from "node:zlib";
import { guidText, utf16le } from "../filesystem/decode.ts";
import { FilesystemError } from "../filesystem/errors.ts";
import { bytesUpTo, u64, viewOf, type BlockReader } from "../source/block-reader.ts";
import type { Partition, PartitionTable } from "./partition.ts";

const SECTOR_SIZES = [512, 4096] as const;
const SIGNATURE = "EFI PART";
const HEADER_SIZE = 92;
const HEADER_CRC = 16;
const ENTRY_SIZE = 128;
/** Linux takes no more than 256 partitions of a disk, and tools make room for 128. */
const MAX_ENTRIES = 1024;
const LEGACY_BIOS_BOOTABLE = 0x4;

const TYPE_NAMES: Readonly<Record<string, string>> = {
  "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
  "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
  "bc13c2ff-59e6-4262-a352-b275fd6f7172": "Linux extended boot",
  "0fc63daf-8483-4772-8e79-3d69d8477de4": "Linux",
  "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "Linux root (x86-64)",
  "44479540-f297-41b2-9af7-d131d5f0458a": "Linux root (x86)",
  "8484680c-9521-48c6-9c11-b0720656f69e": "Linux /usr (x86-64)",
  "933ac7e1-2eb4-4f13-b844-0e14e2aef915": "Linux home",
  "3b8f8425-20e0-4f3b-907f-1a25a76f98e8": "Linux srv",
  "4d21b016-b534-45c2-a9fb-5c16e091fd2d": "Linux var",
  "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
  "e6d6d379-f507-44c2-a23c-238f2a3df928": "Linux LVM",
  "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
  "ca7d7ccb-63ed-4c53-861c-1742536059cc": "LUKS",
  "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "Microsoft basic data",
  "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
  "de94bba4-06d1-4d4d-a16a-bfd50179d6ac": "Windows recovery",
  "6a898cc3-1dd2-11b2-99a6-080020736631": "ZFS",
  "516e7cb4-6ecf-11d6-8ff8-00022d09712b": "FreeBSD",
};

/** The systemd name for the root partition of an x86-64 machine: Discoverable Partitions Specification. */
export const ROOT_X86_64_TYPE = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
export const EFI_SYSTEM_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

interface Header {
  readonly sectorSize: number;
  readonly tableOffset: number;
  readonly entries: number;
  readonly entrySize: number;
  readonly tableCrc: number;
}

/**
 * Reads the table, from its copy at the end of the disk if the one at the beginning is damaged. Undefined if there is none.
 * @throws {FilesystemError} if there is one, but both copies are damaged.
 */
export function readGpt(reader: BlockReader): PartitionTable | undefined {
  const problems: string[] = [];
  let seen = false;
  for (const sectorSize of SECTOR_SIZES) {
    const backup = Math.floor(reader.size / sectorSize - 1) * sectorSize;
    const places = [
      [sectorSize, "the table at the beginning"],
      [backup, "its copy at the end"],
    ] as const;
    if (!places.some(([offset]) => hasSignature(reader, offset))) continue;
    seen = true;
    for (const [offset, place] of places) {
      const result = readTableAt(reader, offset, sectorSize);
      if (typeof result === "string") problems.push(`GPT: ${place} ${result}`);
      else return { scheme: "gpt", partitions: result, warnings: problems };
    }
  }
  if (!seen) return undefined;
  throw new FilesystemError(
    reader.name,
    `damaged partition table: ${problems.join("; ")}`,
    "gdisk can repair some of this",
  );
}

function hasSignature(reader: BlockReader, offset: number): boolean {
  if (offset <= 0 || offset + HEADER_SIZE > reader.size) return false;
  return Buffer.from(reader.bytes(offset, SIGNATURE.length)).toString("latin1") === SIGNATURE;
}

/** The partitions, or what is wrong. */
function readTableAt(reader: BlockReader, offset: number, sectorSize: number): Partition[] | string {
  const header = readHeader(reader, offset, sectorSize);
  if (typeof header === "string") return header;
  const length = header.entries * header.entrySize;
  if (header.tableOffset + length > reader.size) return "points beyond the end of the disk";
  const table = new Uint8Array(length);
  for (let at = 0; at < length; at += sectorSize) {
    table.set(reader.bytes(header.tableOffset + at, Math.min(sectorSize, length - at)), at);
  }
  if (crc32(table) !== header.tableCrc) return "has a wrong checksum";
  return parseEntries(table, header);
}

function readHeader(reader: BlockReader, offset: number, sectorSize: number): Header | string {
  if (!hasSignature(reader, offset)) return "is missing";
  const sector = bytesUpTo(reader, offset, sectorSize);
  const view = viewOf(sector);
  const headerSize = view.getUint32(12, true);
  if (headerSize < HEADER_SIZE || headerSize > sector.length) return "has an impossible size";
  const header = sector.slice(0, headerSize);
  header.fill(0, HEADER_CRC, HEADER_CRC + 4);
  if (crc32(header) !== view.getUint32(HEADER_CRC, true)) return "has a wrong header checksum";
  if (u64(view, 24) * sectorSize !== offset) return "was made for another place";
  const entries = view.getUint32(80, true);
  const entrySize = view.getUint32(84, true);
  if (entries > MAX_ENTRIES || entrySize < ENTRY_SIZE || entrySize > sectorSize || entrySize % 8 !== 0) {
    return "has entries of an impossible number or size";
  }
  return {
    sectorSize,
    tableOffset: u64(view, 72) * sectorSize,
    entries,
    entrySize,
    tableCrc: view.getUint32(88, true),
  };
}

function parseEntries(table: Uint8Array, { entries, entrySize, sectorSize }: Header): Partition[] {
  const partitions: Partition[] = [];
  for (let index = 0; index < entries; index++) {
    const entry = table.subarray(index * entrySize, index * entrySize + ENTRY_SIZE);
    const type = guidText(entry.subarray(0, 16));
    if (type === undefined) continue;
    const view = viewOf(entry);
    const first = u64(view, 32);
    const last = u64(view, 40);
    if (last < first) continue;
    const label = utf16le(entry.subarray(56, 128)).replace(/\0.*$/s, "");
    partitions.push({
      number: index + 1,
      start: first * sectorSize,
      size: (last - first + 1) * sectorSize,
      type,
      typeName: TYPE_NAMES[type] ?? `type ${type}`,
      uuid: guidText(entry.subarray(16, 32)),
      label: label === "" ? undefined : label,
      bootable: (view.getUint32(48, true) & LEGACY_BIOS_BOOTABLE) !== 0,
    });
  }
  return partitions;
}
