/**
 * Content inside the inode (feature inline_data): the first 60 bytes in the place of the block map, the rest in the extended
 * attribute system.data behind the fixed fields. Kernel document filesystems/ext4/inlinedata.rst.
 */
import { viewOf } from "../../source/block-reader.ts";
import type { Inode } from "./inode.ts";
import { damaged, type ExtVolume } from "./volume.ts";

const MAGIC = 0xea02_0000;
const ENTRY_SIZE = 16;
/** The name index of `system.`; such names are stored without it. */
const SYSTEM = 7;

/** The parts of the content: of a directory, each is a series of entries of its own. */
export function inlineParts(volume: ExtVolume, inode: Inode): [area: Uint8Array, attribute: Uint8Array] {
  return [inode.blockArea, systemData(volume, inode)];
}

function systemData({ reader }: ExtVolume, { bytes, fixedSize, number }: Inode): Uint8Array {
  const none = new Uint8Array();
  const view = viewOf(bytes);
  if (fixedSize + 4 + 4 > bytes.length || view.getUint32(fixedSize, true) !== MAGIC) return none;
  const first = fixedSize + 4;
  for (let at = first; at + ENTRY_SIZE <= bytes.length;) {
    const nameLength = view.getUint8(at);
    // Four zero bytes end the list.
    if (view.getUint32(at, true) === 0) return none;
    const name = bytes.subarray(at + ENTRY_SIZE, at + ENTRY_SIZE + nameLength);
    if (view.getUint8(at + 1) === SYSTEM && Buffer.from(name).toString("latin1") === "data") {
      const start = first + view.getUint16(at + 2, true);
      const size = view.getUint32(at + 8, true);
      if (size > bytes.length || start + size > bytes.length) {
        throw damaged(reader.name, `the inline data of inode ${number} is longer than the inode`);
      }
      return bytes.subarray(start, start + size);
    }
    at += ENTRY_SIZE + Math.ceil(nameLength / 4) * 4;
  }
  return none;
}
