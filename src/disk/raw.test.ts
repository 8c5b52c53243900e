import fc from "fast-check";
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { MFD_CLOEXEC } from "../ffi/constants.ts";
import { IoVector } from "../ffi/iovec.ts";
import { check, memfd_create } from "../ffi/libc.ts";
import { allocateNative } from "../ffi/native-buffer.ts";
import { rawDiskOn } from "./testing/raw-disk.ts";
import type { RawDisk } from "./raw.ts";

const SECTOR = 512;
const SECTORS = 256;
const SIZE = SECTORS * SECTOR;
const EBADF = 9;
const EIO = 5;

const directory = mkdtempSync(join(tmpdir(), "tsvm-raw-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** On a file system and in memory: the latter cannot write zeroes by itself. */
const FILES: Record<string, () => number> = {
  "a file": () => openSync(join(directory, "disk"), "w+"),
  "a memfd": () => check(memfd_create("disk", MFD_CLOEXEC), "memfd_create"),
};

describe.each(Object.entries(FILES))("RawDisk on %s", (_, create) => {
  let fd = -1;
  let disk: RawDisk;
  const arena = allocateNative(SIZE);
  const memory = new Uint8Array(arena.buffer);
  const vector = new IoVector();
  const content = Buffer.from(Uint8Array.from({ length: SIZE }, (__, at) => (at * 11) ^ (at >> 9)));

  beforeEach(() => {
    fd = create();
    writeSync(fd, content, 0, SIZE, 0);
    disk = rawDiskOn(fd, SIZE);
    return () => closeSync(fd);
  });
  const whole = (): Buffer => readFileSync(`/proc/self/fd/${fd}`);
  const fill = (...ranges: [number, number][]): void => {
    vector.clear();
    for (const [at, length] of ranges) vector.add(arena.address + at, length);
  };

  it("reads and writes through vectors", () => {
    fill([100, 1000], [5000, 24]);
    expect(disk.read(vector, 3 * SECTOR)).toBe(0);
    expect(Buffer.from(memory.subarray(100, 1100)).equals(content.subarray(1536, 2536))).toBe(true);
    expect(Buffer.from(memory.subarray(5000, 5024)).equals(content.subarray(2536, 2560))).toBe(true);
    memory.fill(0x77, 0, 512);
    fill([0, 100], [100, 412]);
    expect(disk.write(vector, 10 * SECTOR)).toBe(0);
    expect(
      whole()
        .subarray(5120, 5632)
        .every((byte) => byte === 0x77),
    ).toBe(true);
    expect(disk.flush()).toBe(0);
    fill();
    expect(disk.read(vector, 0)).toBe(0);
  });

  it("keeps its size, whatever it zeroes or discards", () => {
    expect(disk.writeZeroes(0, 1024, false)).toBe(0);
    expect(disk.writeZeroes(SIZE - 512, 512, true)).toBe(0);
    expect(disk.discard(64 * 1024, 32 * 1024)).toBe(0);
    const seen = whole();
    expect(seen.length).toBe(SIZE);
    expect(seen.subarray(0, 1024).every((byte) => byte === 0)).toBe(true);
    expect(seen.subarray(1024, 64 * 1024).equals(content.subarray(1024, 64 * 1024))).toBe(true);
    expect(seen.subarray(96 * 1024, SIZE - 512).equals(content.subarray(96 * 1024, SIZE - 512))).toBe(true);
    expect(seen.subarray(SIZE - 512).every((byte) => byte === 0)).toBe(true);
  });

  it("gives discarded and unmapped space back", () => {
    const before = fstatSync(fd).blocks;
    expect(disk.discard(0, SIZE / 2)).toBe(0);
    const half = fstatSync(fd).blocks;
    expect(half).toBeLessThan(before);
    expect(disk.writeZeroes(SIZE / 2, SIZE / 2, true)).toBe(0);
    expect(fstatSync(fd).blocks).toBeLessThan(half);
  });

  it("zeroes more than its buffer of zeros holds", () => {
    expect(disk.writeZeroes(SECTOR, SIZE - 2 * SECTOR, false)).toBe(0);
    const seen = whole();
    expect(seen.subarray(0, SECTOR).equals(content.subarray(0, SECTOR))).toBe(true);
    expect(seen.subarray(SECTOR, -SECTOR).every((byte) => byte === 0)).toBe(true);
    expect(seen.subarray(-SECTOR).equals(content.subarray(-SECTOR))).toBe(true);
  });

  it("says what failed", () => {
    ftruncateSync(fd, SECTOR);
    fill([0, 1024]);
    expect(disk.read(vector, 0)).toBe(EIO);
    fill([0, 512]);
    expect(disk.read(vector, 0)).toBe(0);
    const closed = rawDiskOn(-1, SIZE);
    fill([0, 512]);
    expect(closed.read(vector, 0)).toBe(EBADF);
    fill([0, 512]);
    expect(closed.write(vector, 0)).toBe(EBADF);
    expect(closed.flush()).toBe(EBADF);
    expect(closed.discard(0, 512)).toBe(EBADF);
    expect(closed.writeZeroes(0, 512, false)).toBe(EBADF);
    expect(closed.writeZeroes(0, 512, true)).toBe(EBADF);
  });

  it("says that a vector points nowhere", () => {
    vector.clear();
    vector.add(0x1000, 512);
    expect(disk.read(vector, 0)).toBe(14); // EFAULT
  });

  const range = fc.tuple(fc.nat(SECTORS - 1), fc.nat(20)).map(([from, count]) => ({
    offset: from * SECTOR,
    length: Math.min(count, SECTORS - from) * SECTOR,
  }));
  const operation = fc.oneof(
    fc.record({ kind: fc.constant("read" as const), range, cut: fc.nat() }),
    fc.record({ kind: fc.constant("write" as const), range, cut: fc.nat(), byte: fc.nat(255) }),
    fc.record({ kind: fc.constant("zero" as const), range, unmap: fc.boolean() }),
    fc.record({ kind: fc.constant("flush" as const) }),
  );

  it("is an array of bytes (property)", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 15 }), (operations) => {
        writeSync(fd, content, 0, SIZE, 0);
        const model = Buffer.from(content);
        for (const one of operations) {
          if (one.kind === "flush") {
            expect(disk.flush()).toBe(0);
            continue;
          }
          const { offset, length } = one.range;
          const end = offset + length;
          if (one.kind === "zero") {
            if (length > 0) expect(disk.writeZeroes(offset, length, one.unmap)).toBe(0);
            model.fill(0, offset, end);
            continue;
          }
          const cut = length === 0 ? 0 : one.cut % length;
          // The second part lies before the first one in memory.
          fill([length - cut, cut], [0, length - cut]);
          if (one.kind === "write") {
            for (let at = 0; at < length; at++) memory[at] = one.byte + at;
            expect(disk.write(vector, offset)).toBe(0);
            Buffer.from(memory.subarray(length - cut, length)).copy(model, offset);
            Buffer.from(memory.subarray(0, length - cut)).copy(model, offset + cut);
          } else {
            expect(disk.read(vector, offset)).toBe(0);
            const seen = Buffer.concat([
              memory.subarray(length - cut, length),
              memory.subarray(0, length - cut),
            ]);
            expect(seen.equals(model.subarray(offset, end))).toBe(true);
          }
        }
        expect(whole().equals(model)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});
