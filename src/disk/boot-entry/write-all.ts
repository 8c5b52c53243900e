import { writeSync } from "node:fs";
import { DiskError } from "../errors.ts";

/** Writes all bytes at `position` of a file in memory. */
export function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    } catch (cause) {
      throw new DiskError("copy of a kernel or initrd", (cause as Error).message, "free some memory", cause);
    }
  }
}
