import { allocateNative } from "../../ffi/native-buffer.ts";
import type { ImageFile } from "../image-file.ts";
import { SECTOR } from "./format.ts";
import { headerBytes, parseHeader, type Qcow2Header } from "./header.ts";

/** Reads and checks the header of an open image. Throws a DiskError or an ImageIoError. */
export function readHeader(file: ImageFile): Qcow2Header {
  const head = readStart(file, SECTOR);
  return parseHeader(file.path, readStart(file, headerBytes(file.path, head)), file.size);
}

/** Up to `length` bytes; fewer where the file ends. */
function readStart(file: ImageFile, length: number): Uint8Array {
  const bytes = Math.min(length, file.size);
  if (bytes === 0) return new Uint8Array(0);
  const native = allocateNative(bytes);
  file.read(native.address, bytes, 0);
  return new Uint8Array(native.buffer, 0, bytes).slice();
}
