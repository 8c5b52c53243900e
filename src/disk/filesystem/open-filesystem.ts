import type { BlockReader } from "../source/block-reader.ts";
import { isExt, openExt4 } from "./ext4/ext4.ts";
import { isFat, openFat } from "./fat/fat.ts";
import type { FileSystem } from "./filesystem.ts";
import { isIso9660, openIso9660 } from "./iso9660/iso9660.ts";

interface Driver {
  readonly recognizes: (reader: BlockReader) => boolean;
  readonly open: (reader: BlockReader) => FileSystem;
}

/** The most telling mark first: a boot sector like that of FAT may stand before others. */
const DRIVERS: readonly Driver[] = [
  { recognizes: isIso9660, open: openIso9660 },
  { recognizes: isExt, open: openExt4 },
  { recognizes: isFat, open: openFat },
];

/**
 * The file system on a disk or partition; undefined if there is none that tsvm reads.
 * @throws {FilesystemError} if there is one, but it is damaged.
 */
export function openFilesystem(reader: BlockReader): FileSystem | undefined {
  return DRIVERS.find(({ recognizes }) => recognizes(reader))?.open(reader);
}
