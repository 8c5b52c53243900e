/**
 * MBR partition tables: four primary entries in sector 0, of which one may be an extended partition. That holds a chain of
 * sectors of the same form, each with one logical partition and a link to the next.
 */
import { viewAt, type BlockReader } from "../source/block-reader.ts";
import type { Partition, PartitionTable } from "./partition.ts";

const SECTOR_SIZE = 512;
const SIGNATURE_OFFSET = 0x1fe;
const SIGNATURE = 0xaa55;
const DISK_ID_OFFSET = 0x1b8;
const TABLE_OFFSET = 0x1be;
const ENTRY_SIZE = 16;
const EXTENDED_TYPES = [0x05, 0x0f, 0x85];
const GPT_PROTECTIVE = 0xee;
const FIRST_LOGICAL = 5;
/** The kernel does not take more partitions of a disk. */
const MAX_PARTITIONS = 256;

const TYPE_NAMES: Readonly<Record<number, string>> = {
  0x01: "FAT12",
  0x04: "FAT16",
  0x05: "extended",
  0x06: "FAT16",
  0x07: "NTFS or exFAT",
  0x0b: "FAT32",
  0x0c: "FAT32",
  0x0e: "FAT16",
  0x0f: "extended",
  0x82: "Linux swap",
  0x83: "Linux",
  0x85: "extended",
  0x8e: "Linux LVM",
  0xa5: "FreeBSD",
  0xa6: "OpenBSD",
  0xa9: "NetBSD",
  0xea: "Linux extended boot",
  0xee: "GPT protective",
  0xef: "EFI system",
  0xfd: "Linux RAID",
};

interface Entry {
  readonly bootable: boolean;
  readonly type: number;
  /** In sectors, from what the kind of entry says. */
  readonly first: number;
  readonly count: number;
}

/** The table of sector 0, or undefined if it has none: a boot sector without partitions is no table. */
export function readMbr(reader: BlockReader): PartitionTable | undefined {
  const sector = readTableSector(reader, 0);
  if (sector === undefined || sector.entries.length === 0) return undefined;
  const diskId = sector.diskId.toString(16).padStart(8, "0");
  const partition = (number: number, { bootable, type }: Entry, first: number, count: number): Partition => ({
    number,
    start: first * SECTOR_SIZE,
    size: count * SECTOR_SIZE,
    type: type.toString(16).padStart(2, "0"),
    typeName: TYPE_NAMES[type] ?? `type 0x${type.toString(16).padStart(2, "0")}`,
    uuid: sector.diskId === 0 ? undefined : `${diskId}-${number.toString(16).padStart(2, "0")}`,
    label: undefined,
    bootable,
  });

  const partitions: Partition[] = [];
  const warnings: string[] = [];
  for (const { number, entry } of sector.entries)
    partitions.push(partition(number, entry, entry.first, entry.count));
  const extended = sector.entries.find(({ entry }) => EXTENDED_TYPES.includes(entry.type));
  if (extended !== undefined) {
    let number = FIRST_LOGICAL;
    for (const { entry, base } of logicalPartitions(reader, extended.entry, warnings)) {
      partitions.push(partition(number++, entry, base + entry.first, entry.count));
    }
  }
  return { scheme: "mbr", partitions, warnings };
}

/** Whether this MBR only says that a GPT follows. */
export function isProtective(table: PartitionTable): boolean {
  return table.partitions.some(({ type }) => type === GPT_PROTECTIVE.toString(16));
}

export function isExtended({ type }: Partition): boolean {
  return EXTENDED_TYPES.includes(Number.parseInt(type, 16)) && type.length === 2;
}

function* logicalPartitions(
  reader: BlockReader,
  extended: Entry,
  warnings: string[],
): Generator<{ entry: Entry; base: number }> {
  const seen = new Set<number>();
  let offset = 0;
  for (;;) {
    const base = extended.first + offset;
    if (seen.has(base) || seen.size >= MAX_PARTITIONS) {
      warnings.push("MBR: the chain of logical partitions does not end");
      return;
    }
    seen.add(base);
    const sector = readTableSector(reader, base);
    if (sector === undefined) {
      warnings.push(`MBR: there is no table of a logical partition in sector ${base}`);
      return;
    }
    // Data counts from this sector, links from the beginning of the extended partition.
    const data = sector.entries.find(({ entry }) => !EXTENDED_TYPES.includes(entry.type));
    if (data !== undefined) yield { entry: data.entry, base };
    const link = sector.entries.find(({ entry }) => EXTENDED_TYPES.includes(entry.type));
    if (link === undefined) return;
    offset = link.entry.first;
  }
}

function readTableSector(
  reader: BlockReader,
  sector: number,
): { diskId: number; entries: { number: number; entry: Entry }[] } | undefined {
  const offset = sector * SECTOR_SIZE;
  if (offset + SECTOR_SIZE > reader.size) return undefined;
  const view = viewAt(reader, offset, SECTOR_SIZE);
  if (view.getUint16(SIGNATURE_OFFSET, true) !== SIGNATURE) return undefined;
  const entries: { number: number; entry: Entry }[] = [];
  for (let index = 0; index < 4; index++) {
    const at = TABLE_OFFSET + index * ENTRY_SIZE;
    const status = view.getUint8(at);
    // Boot code in the place of a table has other values here.
    if (status !== 0 && status !== 0x80) return undefined;
    const entry = {
      bootable: status === 0x80,
      type: view.getUint8(at + 4),
      first: view.getUint32(at + 8, true),
      count: view.getUint32(at + 12, true),
    };
    if (entry.type !== 0 && entry.count !== 0) entries.push({ number: index + 1, entry });
  }
  return { diskId: view.getUint32(DISK_ID_OFFSET, true), entries };
}
