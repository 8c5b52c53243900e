/** The boot sector of FAT: Microsoft, FAT32 File System Specification 1.03, and ECMA-107. */
import { bytesUpTo, viewOf, type BlockReader } from "../../source/block-reader.ts";
import { hex, paddedText } from "../decode.ts";

export interface FatGeometry {
  readonly bits: 12 | 16 | 32;
  readonly clusterSize: number;
  /** Of data; they count from 2. */
  readonly clusters: number;
  /** Bytes from the beginning. */
  readonly fatOffset: number;
  /** Of FAT12 and FAT16, where the root directory is no chain of clusters. */
  readonly rootOffset: number;
  readonly rootSize: number;
  /** Of FAT32. */
  readonly rootCluster: number;
  /** Where cluster 2 begins. */
  readonly dataOffset: number;
  readonly label: string | undefined;
  readonly uuid: string | undefined;
}

const BOOT_SECTOR_SIZE = 512;
const DIRECTORY_ENTRY_SIZE = 32;

/** What the boot sector says, or undefined if it is none of FAT. */
export function readGeometry(reader: BlockReader): FatGeometry | undefined {
  const bytes = bytesUpTo(reader, 0, BOOT_SECTOR_SIZE);
  if (bytes.length < BOOT_SECTOR_SIZE) return undefined;
  const view = viewOf(bytes);
  const u16 = (offset: number): number => view.getUint16(offset, true);
  const u32 = (offset: number): number => view.getUint32(offset, true);
  const sectorSize = u16(11);
  const sectorsPerCluster = view.getUint8(13);
  const reserved = u16(14);
  const fats = view.getUint8(16);
  const rootEntries = u16(17);
  const sectors = u16(19) || u32(32);
  const media = view.getUint8(21);
  const sectorsPerFat = u16(22) || u32(36);
  const plausible =
    u16(510) === 0xaa55 &&
    [512, 1024, 2048, 4096].includes(sectorSize) &&
    sectorsPerCluster > 0 &&
    (sectorsPerCluster & (sectorsPerCluster - 1)) === 0 &&
    reserved > 0 &&
    (fats === 1 || fats === 2) &&
    (media === 0xf0 || media >= 0xf8) &&
    sectorsPerFat > 0;
  if (!plausible) return undefined;

  const rootSize = rootEntries * DIRECTORY_ENTRY_SIZE;
  const rootSector = reserved + fats * sectorsPerFat;
  const dataSector = rootSector + Math.ceil(rootSize / sectorSize);
  const clusters = Math.floor((sectors - dataSector) / sectorsPerCluster);
  if (clusters < 1) return undefined;
  // FAT32 has no size of its tables in 16 bits; the number of clusters tells the others apart.
  const bits = u16(22) === 0 ? 32 : clusters < 4085 ? 12 : 16;
  const tableEntries = Math.floor((sectorsPerFat * sectorSize * 8) / bits) - 2;
  if (bits !== 32 && rootEntries === 0) return undefined;
  const extended = bits === 32 ? 64 : 36;
  // 0x28 and 0x29 say that serial number and label follow.
  const signature = view.getUint8(extended + 2);
  const hasSerial = signature === 0x29 || signature === 0x28;
  const label = signature === 0x29 ? paddedText(bytes.subarray(extended + 7, extended + 18)) : undefined;
  return {
    bits,
    clusterSize: sectorsPerCluster * sectorSize,
    clusters: Math.min(clusters, tableEntries),
    fatOffset: reserved * sectorSize,
    rootOffset: rootSector * sectorSize,
    rootSize,
    rootCluster: bits === 32 ? u32(44) : 0,
    dataOffset: dataSector * sectorSize,
    label: label === "NO NAME" ? undefined : label,
    uuid: hasSerial ? serialText(bytes.slice(extended + 3, extended + 7)) : undefined,
  };
}

function serialText(bytes: Uint8Array): string {
  return hex(bytes.reverse())
    .toUpperCase()
    .replace(/^(.{4})/, "$1-");
}
