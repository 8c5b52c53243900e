import fc from "fast-check";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IoVector } from "./iovec.ts";
import { check, preadv, pwritev } from "./libc.ts";
import { allocateNative } from "./native-buffer.ts";

const ARENA = 64 * 1024;

/** Ranges of the arena, as a list of [offset, length]. */
const ranges = fc.array(fc.tuple(fc.nat(ARENA - 300), fc.nat(300)), { maxLength: 20 });
const total = (list: readonly [number, number][]): number =>
  list.reduce((sum, [, length]) => sum + length, 0);

describe("IoVector", () => {
  const arena = allocateNative(ARENA);
  const memory = new Uint8Array(arena.buffer);
  const vector = new IoVector();
  let directory = "";
  let fd = -1;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "tsvm-iovec-"));
    fd = openSync(join(directory, "file"), "w+");
    for (let at = 0; at < ARENA; at++) memory[at] = (at * 31) ^ (at >> 8);
  });
  afterAll(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });

  const fill = (list: readonly [number, number][]): void => {
    vector.clear();
    for (const [offset, length] of list) expect(vector.add(arena.address + offset, length)).toBe(true);
  };

  it("counts entries and bytes, and leaves empty ranges out", () => {
    fill([
      [0, 10],
      [50, 0],
      [100, 5],
    ]);
    expect(vector.count).toBe(2);
    expect(vector.bytes).toBe(15);
    vector.clear();
    expect(vector.count).toBe(0);
    expect(vector.bytes).toBe(0);
  });

  it("takes IOV_MAX entries and no more", () => {
    vector.clear();
    for (let count = 0; count < IoVector.MAX; count++)
      expect(vector.add(arena.address + count, 1)).toBe(true);
    expect(vector.add(arena.address, 1)).toBe(false);
    expect(vector.add(arena.address, 0)).toBe(true);
    expect(vector.count).toBe(IoVector.MAX);
    expect(vector.bytes).toBe(IoVector.MAX);
    // The kernel takes all of them in one call.
    expect(check(pwritev(fd, vector.address, vector.count, 0), "pwritev")).toBe(IoVector.MAX);
  });

  it("is what pwritev writes, whatever was consumed before (property)", () => {
    fc.assert(
      fc.property(ranges, fc.array(fc.nat(700), { maxLength: 5 }), (list, cuts) => {
        fill(list);
        let expected = Buffer.concat(
          list.map(([at, length]) => Buffer.from(memory.subarray(at, at + length))),
        );
        for (const cut of cuts) {
          const length = Math.min(cut, expected.length);
          vector.consume(length);
          expected = expected.subarray(length);
          expect(vector.bytes).toBe(expected.length);
        }
        expect(vector.count === 0).toBe(expected.length === 0);
        const wrote = check(pwritev(fd, vector.address, vector.count, 0), "pwritev");
        expect(wrote).toBe(expected.length);
        expect(readFileSync(join(directory, "file")).subarray(0, wrote).equals(expected)).toBe(true);
      }),
    );
  });

  it("is what preadv fills, piece by piece, and nothing else (property)", () => {
    const content = Buffer.alloc(8192);
    for (let at = 0; at < content.length; at++) content[at] = (at * 17) ^ (at >> 8);
    writeSync(fd, content, 0, content.length, 0);
    const separate = fc.array(fc.tuple(fc.nat(200), fc.nat(300)), { maxLength: 16 }).map((gaps) => {
      let end = 0;
      return gaps.map(([gap, length]): [number, number] => {
        const at = end + gap;
        end = at + length;
        return [at, length];
      });
    });
    fc.assert(
      fc.property(separate, fc.integer({ min: 1, max: 400 }), (list, step) => {
        const before = new Uint8Array(ARENA).fill(0xee);
        memory.set(before);
        const model = new Uint8Array(before);
        let from = 0;
        for (const [at, length] of list) {
          model.set(content.subarray(from, from + length), at);
          from += length;
        }
        fill(list);
        // Each call reads all that is left, but only `step` bytes of it count as done.
        for (let position = 0; vector.bytes > 0;) {
          const got = check(preadv(fd, vector.address, vector.count, position), "preadv");
          const done = Math.min(got, step);
          vector.consume(done);
          position += done;
        }
        expect(vector.count).toBe(0);
        expect(total(list)).toBe(from);
        expect(Buffer.compare(memory, model)).toBe(0);
      }),
    );
  });

  it("carries addresses beyond 4 GiB and across a carry into the upper half", () => {
    const words = new IoVector();
    const base = 2 ** 46 + 0xffff_fff0;
    words.add(base, 0x100);
    words.consume(0x20);
    words.add(base, 1);
    // Read the array back through a second mapping of the same bytes: a file.
    const raw = new IoVector();
    raw.add(words.address, 32);
    check(pwritev(fd, raw.address, raw.count, 0), "pwritev");
    const bytes = readFileSync(join(directory, "file"));
    expect(bytes.readBigUInt64LE(0)).toBe(BigInt(base + 0x20));
    expect(bytes.readBigUInt64LE(8)).toBe(0xe0n);
    expect(bytes.readBigUInt64LE(16)).toBe(BigInt(base));
    expect(bytes.readBigUInt64LE(24)).toBe(1n);
  });
});
