import { closeSync, readSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { O_CLOEXEC, O_NONBLOCK } from "../../../ffi/constants.ts";
import { IoVector } from "../../../ffi/iovec.ts";
import { check, pipe2 } from "../../../ffi/libc.ts";
import { allocateNative } from "../../../ffi/native-buffer.ts";
import { BUF_ALLOC } from "./credit.ts";
import { HostBuffer } from "./host-buffer.ts";

const fds: number[] = [];
afterEach(() => fds.splice(0).forEach((fd) => closeSync(fd)));

const source = allocateNative(BUF_ALLOC);
const bytes = new Uint8Array(source.buffer);
for (let at = 0; at < bytes.length; at++) bytes[at] = (at * 7) ^ (at >> 9);

function append(buffer: HostBuffer, from: number, length: number): void {
  const vector = new IoVector();
  const half = length >> 1;
  vector.add(source.address + from, half);
  vector.add(source.address + from + half, length - half);
  buffer.append(vector);
}

describe("HostBuffer", () => {
  it("gives out what was put in, in order, around its end again and again", () => {
    const ends = new Int32Array(2);
    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK), "pipe2");
    fds.push(...ends);
    const buffer = new HostBuffer();
    let put = 0;
    let got = 0;
    const piece = Buffer.alloc(65536);
    for (let round = 0; round < 100; round++) {
      const length = Math.min(
        BUF_ALLOC - buffer.length,
        50_000 + 997 * (round % 13),
        bytes.length - (put % bytes.length),
      );
      append(buffer, put % bytes.length, length);
      put += length;
      const flushed = buffer.flush(ends[1]!);
      const read = readSync(ends[0]!, piece);
      // A pipe holds 65536 bytes.
      expect(flushed).toBe(read);
      for (let at = 0; at < read; at++, got++) {
        if (piece[at] !== bytes[got % bytes.length]) expect.fail(`byte ${got} is wrong`);
      }
      expect(put - got).toBe(buffer.length);
    }
    expect(got).toBeGreaterThan(10 * BUF_ALLOC);
  });

  it("holds as much as the credit, and does not let go of bytes for more", () => {
    const buffer = new HostBuffer();
    append(buffer, 0, BUF_ALLOC);
    expect(() => append(buffer, 0, 1)).toThrow(RangeError);
    expect(buffer.length).toBe(BUF_ALLOC);
  });

  it("says when nobody will read", () => {
    const ends = new Int32Array(2);
    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK), "pipe2");
    closeSync(ends[0]!);
    fds.push(ends[1]!);
    const buffer = new HostBuffer();
    append(buffer, 0, 10);
    expect(buffer.flush(ends[1]!)).toBe(-1);
  });
});
