/** Reads and writes a back end with buffers, as a guest would with its memory. */
import { IoVector } from "../../ffi/iovec.ts";
import { allocateNative } from "../../ffi/native-buffer.ts";
import type { BlockBackend } from "../backend.ts";

const ARENA = 4 * 2 ** 20;
const arena = allocateNative(ARENA);

export class DiskAccess {
  readonly disk: BlockBackend;
  readonly #arena = arena;
  readonly #memory = Buffer.from(arena.buffer);
  readonly #vector = new IoVector();

  constructor(disk: BlockBackend) {
    this.disk = disk;
  }

  /** The content, or the errno. */
  tryRead(offset: number, length: number): Buffer | number {
    this.#memory.fill(0xee, 0, length);
    this.#fill(length, length > 1024 ? 700 : length);
    const error = this.disk.read(this.#vector, offset);
    return error === 0 ? Buffer.from(this.#memory.subarray(0, length)) : error;
  }

  tryWrite(offset: number, bytes: Uint8Array): number {
    this.#memory.set(bytes);
    this.#fill(bytes.length, bytes.length > 2048 ? 1100 : bytes.length);
    return this.disk.write(this.#vector, offset);
  }

  read(offset: number, length: number): Buffer {
    const seen = this.tryRead(offset, length);
    if (typeof seen === "number") throw new Error(`read of ${length} at ${offset}: errno ${seen}`);
    return seen;
  }

  write(offset: number, bytes: Uint8Array): void {
    succeed("write", this.tryWrite(offset, bytes));
  }

  flush(): void {
    succeed("flush", this.disk.flush());
  }

  discard(offset: number, length: number): void {
    succeed("discard", this.disk.discard(offset, length));
  }

  writeZeroes(offset: number, length: number, unmap: boolean): void {
    succeed("writeZeroes", this.disk.writeZeroes(offset, length, unmap));
  }

  close(): void {
    succeed("close", this.disk.close?.() ?? 0);
  }

  /** All of the disk. */
  content(): Buffer {
    const parts: Buffer[] = [];
    for (let at = 0; at < this.disk.size; at += ARENA) {
      parts.push(this.read(at, Math.min(ARENA, this.disk.size - at)));
    }
    return Buffer.concat(parts);
  }

  /** Several buffers, none of which ends where a sector does. */
  #fill(length: number, first: number): void {
    this.#vector.clear();
    this.#vector.add(this.#arena.address, first);
    this.#vector.add(this.#arena.address + first, length - first);
  }
}

function succeed(what: string, error: number): void {
  if (error !== 0) throw new Error(`${what}: errno ${error}`);
}
