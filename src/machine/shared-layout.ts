import type { SharedRange } from "./plan.ts";

/** Hands out ranges of a SharedArrayBuffer that is made when all are known. */
export class SharedLayout {
  #end = 0;

  add(bytes: number): SharedRange {
    const offset = this.#end;
    // 64 bytes: a cache line for each device, and alignment for any typed array.
    this.#end += Math.ceil(bytes / 64) * 64;
    return { offset, bytes };
  }

  allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(this.#end);
  }
}
