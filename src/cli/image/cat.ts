/** `tsvm image cat`: a file in an image. */
import { existsSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { openDiskImage } from "../../disk/boot-entry/image-kernel.ts";
import { parseImageReference } from "../../disk/filesystem/image-reference.ts";
import { readFile } from "../../disk/filesystem/read.ts";
import { outputFailure, standardOutput } from "../output.ts";
import { warn } from "./text.ts";

export async function imageCatCommand(reference: string, path: string): Promise<void> {
  const { path: file, partition } = parseImageReference(reference, existsSync);
  const stdout = standardOutput();
  const { image, close } = openDiskImage(file);
  try {
    const fs = image.filesystem(partition);
    warn(fs.warnings);
    await pipeline(Readable.from(readFile(fs, path)), stdout, { end: false });
  } catch (error) {
    // A reader that has left, or a full disk, is told of at the end.
    if (outputFailure() === undefined) throw error;
  } finally {
    close();
  }
}
