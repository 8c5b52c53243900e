/** An image file that remembers all that happened to it, so that a test can stop the world between any two writes. */
import { ftruncateSync, readSync, writeSync } from "node:fs";
import type { IoVector } from "../../ffi/iovec.ts";
import { ImageFile, type ImageFileOptions } from "../image-file.ts";
import type { Random } from "./random.ts";

export type FileEvent =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: "resize"; readonly size: number }
  | { readonly kind: "sync" };

export class RecordingFile extends ImageFile {
  readonly #record: (event: FileEvent) => void;

  constructor(options: ImageFileOptions, record: (event: FileEvent) => void) {
    super(options);
    this.#record = record;
  }

  override writev(vector: IoVector, offset: number): void {
    const length = vector.bytes;
    super.writev(vector, offset);
    this.#wrote(offset, length);
  }

  override sync(): void {
    this.#record({ kind: "sync" });
  }

  override grow(size: number): void {
    const before = this.size;
    super.grow(size);
    if (this.size !== before) this.#record({ kind: "resize", size: this.size });
  }

  override shrink(size: number): void {
    const before = this.size;
    super.shrink(size);
    if (this.size !== before) this.#record({ kind: "resize", size: this.size });
  }

  override punchHole(offset: number, length: number): void {
    super.punchHole(offset, length);
    this.#wrote(offset, Math.min(length, this.size - offset));
  }

  #wrote(offset: number, length: number): void {
    const bytes = Buffer.alloc(length);
    readSync(this.fd, bytes, 0, length, offset);
    this.#record({ kind: "write", offset, bytes });
  }
}

export function replay(fd: number, event: FileEvent): void {
  if (event.kind === "write") writeSync(fd, event.bytes, 0, event.bytes.length, event.offset);
  else if (event.kind === "resize") ftruncateSync(fd, event.size);
}

const SECTOR = 512;

/** Of an event that no sync has followed, what a power loss leaves: any of its sectors, or none. */
export function replayPartly(fd: number, event: FileEvent, random: Random): void {
  const luck = random.below(4);
  if (luck === 0) return;
  if (luck > 1 || event.kind !== "write") {
    replay(fd, event);
    return;
  }
  for (let at = 0; at < event.bytes.length; at += SECTOR) {
    const length = Math.min(SECTOR, event.bytes.length - at);
    if (random.below(2) === 0) writeSync(fd, event.bytes, at, length, event.offset + at);
  }
}
