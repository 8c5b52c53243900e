import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GuestTooSmallError } from "./errors.ts";
import { placeInitrd } from "./initrd.ts";
import { FakeRam } from "./testing/fake-ram.ts";
import { thrownBy } from "./testing/files.ts";

const MiB = 2 ** 20;
const request = {
  size: 5 * MiB,
  name: "initrd.img",
  addrMax: 0x7fff_ffff,
  kernel: { start: 16 * MiB, end: 32 * MiB },
  above4G: false,
};

describe("placeInitrd", () => {
  it("goes to the top of memory, on a page", () => {
    expect(placeInitrd(FakeRam.ofMiB(64).regions, request)).toBe(59 * MiB);
    expect(placeInitrd(FakeRam.ofMiB(64).regions, { ...request, size: 5 * MiB - 1 })).toBe(59 * MiB);
  });

  it("stays below what the kernel can take", () => {
    expect(placeInitrd(FakeRam.withHole(8).regions, request)).toBe(2048 * MiB - 5 * MiB);
    expect(placeInitrd(FakeRam.ofMiB(64).regions, { ...request, addrMax: 40 * MiB - 2 })).toBe(
      35 * MiB - 4096,
    );
  });

  it("goes below the kernel if there is no room above", () => {
    expect(placeInitrd(FakeRam.ofMiB(33).regions, request)).toBe(11 * MiB);
  });

  it("goes above 4 GiB only if need be and if the kernel can", () => {
    const { regions } = FakeRam.withHole(8);
    const large = { ...request, size: 2047 * MiB, above4G: true };
    expect(placeInitrd(regions, large)).toBe(9 * 1024 * MiB - 2047 * MiB);
    expect(placeInitrd(regions, { ...request, above4G: true })).toBeLessThan(2 ** 31);
    expect(thrownBy(() => placeInitrd(regions, { ...large, above4G: false }))).toMatchObject({
      name: "GuestTooSmallError",
      neededBytes: undefined,
    });
  });

  it("says what would do", () => {
    const error = thrownBy(() => placeInitrd(FakeRam.ofMiB(64).regions, { ...request, size: 80 * MiB }));
    expect(error).toBeInstanceOf(GuestTooSmallError);
    expect(error).toMatchObject({
      neededBytes: 112 * MiB,
      message:
        "initrd.img: initrd of 80 MiB does not fit into 64 MiB of guest memory: the kernel occupies everything from 16 MiB to 32 MiB",
    });
    const enough = FakeRam.ofMiB(112);
    expect(placeInitrd(enough.regions, { ...request, size: 80 * MiB })).toBe(32 * MiB);
  });

  it("always ends up in RAM and clear of the kernel, or throws GuestTooSmallError", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 8192 }),
        fc.integer({ min: 1, max: 2 ** 33 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 1, max: 4095 }),
        fc.integer({ min: 0, max: 4 * 2 ** 30 }),
        fc.boolean(),
        (mib, size, addrMax, startMiB, length, above4G) => {
          const ram = mib > 3072 ? FakeRam.withHole(mib / 1024) : FakeRam.ofMiB(mib);
          const kernel = { start: startMiB * MiB, end: startMiB * MiB + length };
          try {
            const gpa = placeInitrd(ram.regions, { ...request, size, addrMax, kernel, above4G });
            expect(gpa % 4096).toBe(0);
            expect(gpa).toBeGreaterThanOrEqual(MiB);
            expect(ram.contains(gpa, size)).toBe(true);
            expect(gpa + size <= kernel.start || gpa >= kernel.end).toBe(true);
            if (!above4G) expect(gpa + size - 1).toBeLessThanOrEqual(addrMax);
          } catch (error) {
            expect(error).toBeInstanceOf(GuestTooSmallError);
          }
        },
      ),
    );
  });
});
