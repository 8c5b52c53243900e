import { describe, expect, it } from "vitest";
import { buffer, device, eisaId, integer, name, packageOf, scope } from "./aml.ts";

describe("integer", () => {
  it.each([
    [0, [0x00]],
    [1, [0x01]],
    [2, [0x0a, 2]],
    [0x100, [0x0b, 0x00, 0x01]],
    [0xd000_1000, [0x0c, 0x00, 0x10, 0x00, 0xd0]],
    [2 ** 40 + 5, [0x0e, 5, 0, 0, 0, 0, 1, 0, 0]],
  ])("encodes %d in the shortest form", (value, bytes) => {
    expect(integer(value)).toEqual(bytes);
  });
});

describe("package lengths (ACPI 6.5, 20.2.4)", () => {
  // A buffer's length counts its own bytes, those of the size and those of the content.
  it.each([
    [0, [0x11, 0x02, 0x00]],
    [60, [0x11, 0x3f, 0x0a, 60]],
    // From here on two bytes: 61 + 2 (size) + 2 (length) = 0x41 = 4 * 16 + 1.
    [61, [0x11, 0x41, 0x04, 0x0a, 61]],
    // 0x1000 + 3 (size) + 3 (length) = 0x1006.
    [0x1000, [0x11, 0x86, 0x00, 0x01, 0x0b, 0x00, 0x10]],
  ])("of a buffer with %d bytes", (size, start) => {
    const encoded = buffer(Array.from({ length: size }, () => 0xee));
    expect(encoded.slice(0, start.length)).toEqual(start);
    expect(encoded).toHaveLength(start.length + size);
  });
});

describe("names", () => {
  it("are padded to segments of four characters", () => {
    expect(scope("\\_SB")).toEqual([0x10, 6, 0x5c, 0x5f, 0x53, 0x42, 0x5f]);
    expect(device("GED")).toEqual([0x5b, 0x82, 5, 0x47, 0x45, 0x44, 0x5f]);
  });

  it("stand before their value", () => {
    expect(name("_S5", packageOf(integer(5)))).toEqual([0x08, 0x5f, 0x53, 0x35, 0x5f, 0x12, 4, 1, 0x0a, 5]);
  });
});

describe("eisaId", () => {
  it("is compressed as the specification's example PNP0C0C is by iasl", () => {
    expect(eisaId("PNP0C0C")).toEqual([0x0c, 0x41, 0xd0, 0x0c, 0x0c]);
    expect(eisaId("PNP0501")).toEqual([0x0c, 0x41, 0xd0, 0x05, 0x01]);
  });
});
