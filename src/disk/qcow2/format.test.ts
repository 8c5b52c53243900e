import { describe, expect, it } from "vitest";
import { copiedHigh, decodeCompressed, entryOffset } from "./format.ts";

describe("L2 entries", () => {
  it("hold an offset of 56 bits", () => {
    expect(entryOffset(0x8000_0001, 0x2345_0000)).toBe(0x1_2345_0000);
    expect(entryOffset(0xffff_ffff, 0xffff_ffff)).toBe(2 ** 56 - 512);
    expect(entryOffset(copiedHigh(0x12_3456_7000), 0x3456_7000)).toBe(0x12_3456_7000);
  });

  it("of compressed clusters hold an offset and a number of sectors, by the cluster size", () => {
    const range = { offset: 0, bytes: 0 };
    // Clusters of 64 KiB: 54 bits of offset, 8 bits of sectors.
    expect(decodeCompressed(0x4000_0000 | (7 << 22), 0x0005_0123, 16, range)).toEqual({
      offset: 0x5_0123,
      bytes: 8 * 512 - 0x123,
    });
    // Clusters of 512 bytes: 61 bits of offset, 1 bit of sectors.
    expect(decodeCompressed(0x6000_0000, 0x1ff, 9, range)).toEqual({ offset: 0x1ff, bytes: 1024 - 511 });
    // Clusters of 2 MiB: 49 bits of offset, 13 bits of sectors.
    expect(decodeCompressed(0x7fff_ffff, 0xffff_fe00, 21, range)).toEqual({
      offset: 2 ** 49 - 512,
      bytes: 8192 * 512,
    });
  });
});
