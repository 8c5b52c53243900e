/** A disk of whatever image format as a source of bytes. */
import { IoVector } from "../../ffi/iovec.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { BlockBackend } from "../backend.ts";
import { ImageIoError } from "../io-error.ts";
import type { BlockSource } from "./block-source.ts";

const SECTOR = 512;
/** Bytes per request to the disk. */
const PIECE = 1024 * 1024;

/** @param path For messages. The disk stays the caller's. */
export function diskSource(path: string, disk: BlockBackend): BlockSource {
  const { buffer, address } = allocateNative(PIECE);
  const piece = new Uint8Array(buffer);
  const vector = new IoVector();
  return {
    size: disk.size,
    read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const at = offset + done;
        const start = at - (at % SECTOR);
        const end = Math.min(start + PIECE, Math.ceil((offset + length) / SECTOR) * SECTOR);
        vector.clear();
        vector.add(address, end - start);
        const error = disk.read(vector, start);
        if (error !== 0) throw new ImageIoError(path, error, `cannot be read at byte ${start}`);
        const got = Math.min(end - at, length - done);
        bytes.set(piece.subarray(at - start, at - start + got), done);
        done += got;
      }
      return bytes;
    },
  };
}
