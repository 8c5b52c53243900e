import { ImageFile } from "../image-file.ts";
import { RawDisk } from "../raw.ts";

/** A raw disk of `size` bytes over an open file. */
export function rawDiskOn(fd: number, size: number, directBlock = 0): RawDisk {
  return new RawDisk(new ImageFile({ path: "disk", fd, size, growable: true, directBlock }), { size });
}
