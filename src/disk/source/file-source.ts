/** A raw image, or any file, as a source of bytes. */
import { readSync } from "node:fs";
import { DiskError } from "../errors.ts";
import type { BlockSource } from "./block-source.ts";

/** @param fd Stays the caller's, who closes it. */
export function fileSource(path: string, fd: number, size: number): BlockSource {
  return {
    size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        let got: number;
        try {
          got = readSync(fd, bytes, done, length - done, offset + done);
        } catch (cause) {
          throw new DiskError(path, `cannot be read: ${(cause as Error).message}`, undefined, cause);
        }
        if (got === 0)
          throw new DiskError(path, "ended while it was read", "something else makes it smaller");
        done += got;
      }
      return bytes;
    },
  };
}
