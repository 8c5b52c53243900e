/** Recognises partition tables, only as far as it takes to say what a disk image holds. Reading them is src/disk's work. */
import type { FileHead } from "./file-head.ts";

const SECTOR_SIZES = [512, 4096] as const;

const MBR_SIGNATURE = [0x55, 0xaa];
const MBR_TABLE = 0x1be;
const MBR_ENTRY_SIZE = 16;

const MBR_TYPES: Readonly<Record<number, string>> = {
  0x01: "FAT",
  0x04: "FAT",
  0x05: "extended",
  0x06: "FAT",
  0x07: "NTFS or exFAT",
  0x0b: "FAT",
  0x0c: "FAT",
  0x0e: "FAT",
  0x0f: "extended",
  0x82: "Linux swap",
  0x83: "Linux",
  0x8e: "Linux LVM",
  0xa5: "FreeBSD",
  0xa6: "OpenBSD",
  0xa9: "NetBSD",
  0xee: "GPT protective",
  0xef: "EFI system",
  0xfd: "Linux RAID",
};

export interface MbrPartition {
  /** Place in the table, from 1: the N of /dev/vdaN. */
  readonly number: number;
  /** Partition type byte, such as 0x83 for Linux. */
  readonly type: number;
  readonly typeName: string;
  readonly bootable: boolean;
  readonly firstSector: number;
  readonly sectors: number;
}

/** The partitions of an MBR, or undefined if sector 0 is none. A boot sector without partitions is none. */
export function mbrPartitions(head: FileHead): MbrPartition[] | undefined {
  if (!head.has(0x1fe, MBR_SIGNATURE)) return undefined;
  const partitions: MbrPartition[] = [];
  for (let index = 0; index < 4; index++) {
    const entry = MBR_TABLE + index * MBR_ENTRY_SIZE;
    const status = head.u8(entry);
    const type = head.u8(entry + 4);
    // Boot code in the place of a table has other values here.
    if (status !== 0 && status !== 0x80) return undefined;
    if (type === 0) continue;
    partitions.push({
      number: index + 1,
      type,
      typeName: MBR_TYPES[type] ?? `type 0x${type.toString(16).padStart(2, "0")}`,
      bootable: status === 0x80,
      firstSector: head.u32(entry + 8),
      sectors: head.u32(entry + 12),
    });
  }
  return partitions.length > 0 ? partitions : undefined;
}

/**
 * The places in its table, from 1, that a GPT uses, as far as the head shows them; undefined if there is no GPT.
 * UEFI 2.10, chapter 5.
 */
export function gptPartitionNumbers(head: FileHead): number[] | undefined {
  const sectorSize = SECTOR_SIZES.find((size) => head.has(size, "EFI PART"));
  if (sectorSize === undefined) return undefined;
  const header = sectorSize;
  // The upper half of the 64-bit sector number: a table that far away is not in the head.
  const tableFar = head.u32(header + 76) !== 0;
  const table = head.u32(header + 72) * sectorSize;
  const entries = Math.min(head.u32(header + 80), 128);
  const entrySize = head.u32(header + 84);
  if (tableFar || entrySize < 128) return [];
  const numbers: number[] = [];
  for (let index = 0; index < entries; index++) {
    const typeGuid = table + index * entrySize;
    if (!head.isZero(typeGuid, typeGuid + 16)) numbers.push(index + 1);
  }
  return numbers;
}
